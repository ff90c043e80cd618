import Foundation

/// A condition did not come true in time.
public struct TimedOut: Error, CustomStringConvertible {
    public let description: String

    public init(_ what: String, after patience: Duration) { description = "\(what): not within \(patience)" }
}

/// Waits until a condition holds. The bound only keeps a broken test from hanging: a good one never comes near it, so how
/// fast the machine is decides nothing.
public func eventually(
    _ what: String, within patience: Duration = .seconds(60), _ condition: () async throws -> Bool
) async throws {
    _ = try await eventualValue(what, within: patience) { try await condition() ? true : nil }
}

/// By how much every patience is longer, for programs that a sanitizer slows down: $CUSTODY_TEST_PATIENCE.
private let factor = ProcessInfo.processInfo.environment["CUSTODY_TEST_PATIENCE"].flatMap { Double($0) } ?? 1

/// Waits until there is a value, and returns it.
public func eventualValue<Value>(
    _ what: String, within patience: Duration = .seconds(60), _ value: () async throws -> Value?
) async throws -> Value {
    let patience = patience * factor
    let end = ContinuousClock.now + patience
    while true {
        if let value = try await value() { return value }
        guard ContinuousClock.now < end else { throw TimedOut(what, after: patience) }
        try await Task.sleep(for: .milliseconds(5))
    }
}
