import Foundation
import Synchronization
import TestSupport

/// What happened: counts, the latest events, and whatever the model forbids.
final class Book: Sendable {
    enum Verdict: String { case lost, wrong, leak }

    private struct State {
        var counts: [String: Int] = [:]
        var events: [String] = []
        var violations: [Verdict: Int] = [:]
        /// The first ones, with what preceded them.
        var accounts: [String] = []
        var recoveries: [(name: String, after: Duration)] = []
    }

    private static let ring = 200
    private static let told = 10

    private let state = Mutex(State())
    private let start = ContinuousClock.now
    let isVerbose: Bool

    init(isVerbose: Bool) { self.isVerbose = isVerbose }

    func count(_ name: String, _ more: Int = 1) { state.withLock { $0.counts[name, default: 0] += more } }

    /// The counts whose names begin with this, without it.
    func counts(_ prefix: String) -> [(name: String, count: Int)] {
        state.withLock { $0.counts }.filter { $0.key.hasPrefix(prefix) }
            .map { (String($0.key.dropFirst(prefix.count)), $0.value) }.sorted { $0.name < $1.name }
    }

    func total(_ name: String) -> Int { state.withLock { $0.counts[name] ?? 0 } }

    /// Puts an event into the ring.
    func note(_ event: String) {
        let line = stamp + event
        state.withLock { state in
            if state.events.count == Self.ring { state.events.removeFirst() }
            state.events.append(line)
        }
        if isVerbose { say(line) }
    }

    func violation(_ verdict: Verdict, _ what: String) {
        note("\(verdict.rawValue.uppercased()): \(what)")
        state.withLock { state in
            state.violations[verdict, default: 0] += 1
            guard state.accounts.count < Self.told else { return }
            state.accounts.append("\(verdict.rawValue): \(what)\n  after:\n    " + state.events.joined(separator: "\n    "))
        }
    }

    func violations(_ verdict: Verdict) -> Int { state.withLock { $0.violations[verdict] ?? 0 } }
    var accounts: [String] { state.withLock { $0.accounts } }

    func recovered(from name: String, after duration: Duration) {
        note("service again \(duration.inMilliseconds) ms after \(name)")
        state.withLock { $0.recoveries.append((name, duration)) }
    }

    /// How long it took from the end of what disturbed to the first success, by the kind of what disturbed.
    var recoveries: [(name: String, after: Duration)] { state.withLock { $0.recoveries } }

    private var stamp: String {
        let milliseconds = start.duration(to: .now).inMilliseconds
        return String(format: "%6d.%03d  ", milliseconds / 1_000, milliseconds % 1_000)
    }
}

/// Prints a line at once, also into a file.
func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }

extension Duration {
    var inMilliseconds: Int { Int(components.seconds) * 1_000 + Int(components.attoseconds / 1_000_000_000_000_000) }
}
