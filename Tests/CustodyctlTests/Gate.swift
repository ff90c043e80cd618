import Foundation
import TestSupport

/// Holds up every process that starts SoftHSM until the test lets it pass: the module's configuration is a named pipe.
final class Gate: Sendable {
    let configurationFile: String
    private let pipe: String
    private let content: [UInt8]

    init(_ installation: Installation) throws {
        let file = installation.directory.file("softhsm2.conf")
        pipe = installation.directory.file("gate")
        content = try installation.content("softhsm2.conf")
        guard mkfifo(pipe, 0o600) == 0 else { throw POSIXFailure("mkfifo") }
        configurationFile = try installation.directory.write(
            "gated.toml", String(decoding: try installation.content("custody.toml"), as: UTF8.self).replacing("\"\(file)\"", with: "\"\(pipe)\""))
    }

    /// Lets one process pass, once it is at the gate and the condition holds.
    func pass(isAwaited: @Sendable () -> Bool) async throws {
        try await eventually("a process at the gate") {
            // Without waiting: this fails for as long as nobody has opened the other end.
            let writer = open(pipe, O_WRONLY | O_NONBLOCK | O_CLOEXEC)
            guard writer >= 0 else { return false }
            defer { close(writer) }
            guard isAwaited() else { return false }
            return content.withUnsafeBytes { write(writer, $0.baseAddress, $0.count) } == content.count
        }
    }
}

/// What the kernel tells of other processes.
enum Processes {
    static func children(of parent: Int32) -> [Int32] {
        let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(parent)/task")) ?? []
        return tasks.flatMap { file(parent, "task/\($0)/children").split(separator: " ").compactMap { Int32($0) } }
    }

    static func file(_ process: Int32, _ name: String) -> String {
        // Read by hand: files of /proc have no size.
        guard let handle = FileHandle(forReadingAtPath: "/proc/\(process)/\(name)") else { return "" }
        let bytes = (try? handle.readToEnd()) ?? Data()
        return String(decoding: bytes.map { $0 == 0 ? UInt8(ascii: " ") : $0 }, as: UTF8.self)
    }
}
