import CustodyClient
import Foundation
import PKCS11
import ToolSupport

/// A real `custodyd` on a SoftHSM token of its own, with a root key `root`, in a folder of its own.
public final class RunningDaemon: Sendable {
    public let token: SoftHSMToken
    public let process: ChildProcess
    public var socket: String { token.directory.file("s") }
    public var configurationFile: String { token.directory.file("custody.toml") }
    public var auditFile: String { token.directory.file("audit.jsonl") }
    /// What stands between it and SoftHSM.
    public let faults: FaultModule?

    /// Whoever runs the tests may do everything.
    public static let everything = """
        [[grant]]
        user = "\(getuid())"
        keys = ["*"]
        operations = ["wrap", "unwrap", "rewrap", "generate-data-key", "encrypt", "decrypt", "status", "reload", "disconnect"]
        """

    /// - Parameters:
    ///   - server: Further lines of the configuration's `[server]`.
    ///   - audit: Further lines of its `[audit]`.
    ///   - keys: Lines of its `[keys]`.
    ///   - rules: Its grants, denials and limits.
    ///   - faults: Stands between it and SoftHSM.
    ///   - tokenLines: Further lines of its `[token]`.
    ///   - environment: Of the daemon's process, besides this one's.
    ///   - wrapper: A program, with its arguments, that becomes the daemon.
    public static func start(
        server: String = "", audit: String = "", auditFile: String = "audit.jsonl", keys: String = "", rules: String = everything,
        faults: FaultModule? = nil, tokenLines: String = "", environment: [String: String] = [:], wrapper: [String] = []
    ) async throws -> RunningDaemon {
        let token = try await SoftHSMToken()
        try configure(
            token, uri: "\(token.uri)", server: server, audit: audit, auditFile: auditFile, keys: keys, rules: rules, faults: faults,
            tokenLines: tokenLines)
        let generated = try await run("custodyctl", arguments: ["key", "generate", "root", "--config", token.directory.file("custody.toml")])
        guard generated.status == .exited(0) else { throw UnexpectedResult(generated) }
        return try await RunningDaemon(token, faults, environment, wrapper)
    }

    /// Writes the configuration of a daemon on this token.
    public static func configure(
        _ token: SoftHSMToken, uri: String, server: String = "", audit: String = "", auditFile: String = "audit.jsonl",
        keys: String = "", rules: String = everything, faults: FaultModule? = nil, tokenLines: String = ""
    ) throws {
        let environment = token.environment.merging(faults?.environment ?? [:]) { _, new in new }
        try token.directory.write(
            "custody.toml",
            """
            [server]
            socket = "s"
            socket-mode = "0666"
            \(server)
            [token]
            module = "\(faults?.modulePath ?? token.modulePath)"
            uri = "\(uri)"
            pin-file = "pin"
            \(tokenLines)
            environment = { \(environment.sorted(by: <).map { "\($0) = \"\($1)\"" }.joined(separator: ", ")) }
            [audit]
            file = "\(auditFile)"
            \(audit)
            [state]
            directory = "state"
            [keys]
            \(keys)
            \(rules)
            """)
    }

    /// Writes other rules; they are not in force before a reload.
    public func setRules(_ rules: String) throws {
        let text = try String(contentsOfFile: configurationFile, encoding: .utf8)
        guard let start = text.range(of: "\n[keys]") else { throw NotInstalled(description: "no [keys] in the configuration") }
        try token.directory.write("custody.toml", text[..<start.lowerBound] + "\n[keys]\n" + rules)
    }

    private init(_ token: SoftHSMToken, _ faults: FaultModule?, _ environment: [String: String] = [:], _ wrapper: [String] = []) async throws {
        self.token = token
        self.faults = faults
        let program = wrapper.isEmpty ? "custodyd" : Products.directory + "/custodyd"
        let words = wrapper + [program, "--config", token.directory.file("custody.toml")]
        process = try ChildProcess(words[0], arguments: Array(words.dropFirst()), environment: environment)
        try await process.line(containing: "token ready")
    }

    /// Another daemon on the same token, after the first has ended.
    public func again() async throws -> RunningDaemon { try await RunningDaemon(token, faults) }

    public func client(connections: Int = 1, deadline: Duration = .seconds(30)) -> CustodyClient {
        CustodyClient(.init(socket: socket, connections: connections, deadline: deadline))
    }

    /// Lends a client and closes it.
    public func withClient<R>(connections: Int = 1, _ body: (CustodyClient) async throws -> R) async throws -> R {
        try await lending(client(connections: connections), closing: { await $0.shutdown() }, to: body)
    }

    /// Changes what the root key may be used for, as an operator does with a tool of the HSM's vendor: the second case
    /// disables it.
    public func setRootKey(usable: Bool) async throws {
        try await withRootKey { session, key in
            try session.setAttributes(of: key, [.bool(.encrypt, usable), .bool(.decrypt, usable)])
        }
    }

    /// Removes the root key from the token.
    public func destroyRootKey() async throws {
        try await withRootKey { session, key in try session.destroyObject(key) }
    }

    private func withRootKey(_ body: (borrowing Session, ObjectHandle) throws -> Void) async throws {
        try await SoftHSM.withSession(on: token) { session in
            for key in try session.objects(.secretKey, matching: [.label("root")]) { try body(session, key) }
        }
    }

    /// The daemon's resident memory (proc(5), statm).
    public func residentMegabytes() throws -> Int {
        let fields = try String(contentsOfFile: "/proc/\(process.processID)/statm", encoding: .utf8).split(separator: " ")
        return (Int(fields[1]) ?? 0) * sysconf(Int32(_SC_PAGESIZE)) / 1_048_576
    }

    /// The decisions in the audit log, whose chain must be whole.
    public func audit() throws -> [[String: Any]] {
        let trail = try AuditTrail([auditFile])
        guard trail.breaks.isEmpty else { throw BrokenTrail(breaks: trail.breaks) }
        return trail.decisions
    }

    /// The events of this name in the audit log so far.
    public func events(_ name: String) throws -> [[String: Any]] { try AuditTrail([auditFile]).events(named: name) }
}

/// The chain of the audit log does not hold.
public struct BrokenTrail: Error {
    public let breaks: [String]
}
