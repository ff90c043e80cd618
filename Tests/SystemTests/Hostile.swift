import Foundation
import SecureMemory
import TestSupport

/// `custody-hostile` as a user of its own: only root can start it.
struct Hostile {
    static let uid: UInt32 = 64_202

    /// What it may do, where it is to be a stolen account and not a stranger.
    static let grant = """

        [[grant]]
        user = "\(uid)"
        keys = ["root"]
        operations = ["unwrap", "status"]
        """

    private let process: ChildProcess

    /// - Parameter groups: So many supplementary groups.
    init(
        _ daemon: RunningDaemon, _ kind: String, connections: Int, blob: [UInt8] = [], uid: UInt32 = Self.uid, groups: Int = 0
    ) async throws {
        chmod(daemon.token.directory.path, 0o711)
        let program = daemon.token.directory.file("custody-hostile")
        if !FileManager.default.fileExists(atPath: program) {
            try FileManager.default.copyItem(atPath: Products.directory + "/custody-hostile", toPath: program)
        }
        process = try ChildProcess(program, arguments: [
            daemon.socket, kind, "\(connections)", Data(blob).base64EncodedString(), "\(uid)", "\(groups)",
        ])
        try await process.line(containing: "hostile")
    }

    var isRunning: Bool { process.status == nil }

    func end() async throws {
        process.signal(SIGKILL)
        try await process.end()
    }
}

extension RunningDaemon {
    /// Lines of its log that contain this.
    func logLines(_ text: String) -> [Substring] { process.errors.split(separator: "\n").filter { $0.contains(text) } }

    /// How many descriptors it has open.
    func openDescriptors() throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process.processID)/fd").count
    }
}
