import Foundation
import TestSupport

/// A copy of /etc that a daemon sees in place of the machine's, with users and groups of the test's own; it can be changed while
/// the daemon runs.
struct AccountFiles {
    static let alice: UInt32 = 64_301
    static let group: UInt32 = 64_310
    static let otherGroup: UInt32 = 64_311
    /// Of the range of alice's subordinate uids.
    static let subordinate: UInt32 = 7_000_000

    private let folder: TemporaryDirectory

    init() async throws {
        folder = try TemporaryDirectory()
        let copy = try await run("cp", arguments: ["-a", "/etc", folder.file("etc")])
        guard copy.status == .exited(0) else { throw UnexpectedResult(copy) }
        try append("passwd", "alice:x:\(Self.alice):\(Self.alice)::/:/bin/false\n")
        try set(members: [], of: Self.group)
        try append("subuid", "alice:\(Self.subordinate):65536\n")
    }

    /// Becomes the daemon.
    var wrapper: [String] {
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", "mount --bind \"$0\" /etc && exec \"$@\"", folder.file("etc")]
    }

    /// Who is in the group; the other group is always empty.
    func set(members: [String], of gid: UInt32) throws {
        let others = try String(contentsOfFile: "/etc/group", encoding: .utf8)
        try Data((others + "g\(gid):x:\(gid):\(members.joined(separator: ","))\n").utf8).write(to: URL(fileURLWithPath: folder.file("etc/group")))
    }

    private func append(_ name: String, _ text: String) throws {
        let path = folder.file("etc/\(name)")
        let old = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
        try Data((old + text).utf8).write(to: URL(fileURLWithPath: path))
    }
}

/// `custodyctl`, run as anybody.
struct Anybody {
    private let daemon: RunningDaemon

    init(_ daemon: RunningDaemon) throws {
        self.daemon = daemon
        chmod(daemon.token.directory.path, 0o711)
        let program = daemon.token.directory.file("custodyctl")
        if !FileManager.default.fileExists(atPath: program) {
            try FileManager.default.copyItem(atPath: Products.directory + "/custodyctl", toPath: program)
        }
    }

    /// - Parameters:
    ///   - groups: The process' supplementary groups; as many as the kernel takes.
    ///   - first: Runs before, as root: a shell's commands.
    func ctl(
        _ arguments: String..., uid: UInt32, gid: UInt32? = nil, groups: [ClosedRange<UInt32>] = [], first: String = ":"
    ) async throws -> ProcessResult {
        let python = """
            import os, sys
            os.setgroups([g for r in sys.argv[3].split() for g in range(int(r.split('-')[0]), int(r.split('-')[1]) + 1)])
            os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[1]))
            os.execv(sys.argv[4], sys.argv[4:])
            """
        let list = groups.map { "\($0.lowerBound)-\($0.upperBound)" }.joined(separator: " ")
        return try await run("sh", arguments: [
            "-c", "set -e; \(first); exec python3 -c \"$@\"", "sh", python, "\(uid)", "\(gid ?? uid)", list,
            daemon.token.directory.file("custodyctl"),
        ] + arguments + ["--socket", daemon.socket])
    }

    /// Connects and asks nothing; says `cut` when the connection has ended.
    func hold(uid: UInt32, gid: UInt32? = nil) async throws -> ChildProcess {
        let python = """
            import os, socket, sys
            os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[1]))
            s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[3])
            print('held', flush=True); s.recv(1); print('cut', flush=True)
            """
        let process = try ChildProcess("python3", arguments: ["-c", python, "\(uid)", "\(gid ?? uid)", daemon.socket])
        try await process.line(containing: "held")
        return process
    }
}
