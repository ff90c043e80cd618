import Foundation
import Synchronization

/// A folder of one test's own, removed with everything in it when the last reference goes.
///
/// Its path is short, so that a Unix socket's path fits below it.
public final class TemporaryDirectory: Sendable {
    public let path: String

    public init() throws {
        var template = Array("/tmp/custody-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw POSIXFailure("mkdtemp") }
        path = template.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Removes it when the process exits, for one that a static property holds: those never go.
    func removeAtExit() {
        Self.leftovers.withLock { if $0.isEmpty { atexit { TemporaryDirectory.removeLeftovers() } }; $0.append(path) }
    }

    private static let leftovers = Mutex<[String]>([])

    private static func removeLeftovers() {
        for path in leftovers.withLock({ $0 }) { try? FileManager.default.removeItem(atPath: path) }
    }

    /// The path of a file in it.
    public func file(_ name: String) -> String { path + "/" + name }

    /// Writes a file of this mode and returns its path.
    @discardableResult
    public func write(_ name: String, _ content: some Sequence<UInt8>, mode: mode_t = 0o600) throws -> String {
        let path = file(name)
        try Data(content).write(to: URL(fileURLWithPath: path))
        // After the writing, whatever the umask is.
        guard chmod(path, mode) == 0 else { throw POSIXFailure("chmod \(path)") }
        return path
    }

    @discardableResult
    public func write(_ name: String, _ text: String, mode: mode_t = 0o600) throws -> String {
        try write(name, Array(text.utf8), mode: mode)
    }
}

/// A system call of the test itself failed.
public struct POSIXFailure: Error, CustomStringConvertible {
    public let description: String

    public init(_ call: String, _ code: Int32 = errno) { description = "\(call): \(String(cString: strerror(code)))" }
}
