import Foundation
import TestSupport

/// The host: a token in the fault module's reader, the files of a daemon, and what its operators have.
final class Site: Sendable {
    /// May use the keys ``keys``; nobody may use ``forbiddenKey``.
    static let keys = ["root", "second"]
    static let forbiddenKey = "forbidden"
    static let bannedTenant = "banned"

    let token: SoftHSMToken
    let faults: FaultModule
    /// The daemon reads its configuration when it starts: nobody else may have it broken then.
    let configurationLock = AsyncLock()
    let sessions: Int

    var socket: String { token.directory.file("s") }
    var daemonConfiguration: String { token.directory.file("custody.toml") }
    var auditFile: String { token.directory.file("audit.jsonl") }

    init(sessions: Int) async throws {
        self.sessions = sessions
        token = try await SoftHSMToken()
        try await token.initialize(label: "other")
        faults = try FaultModule()
        faults.insert(label: token.label)
        // Strangers may come as far as the socket.
        guard chmod(token.directory.path, 0o711) == 0 else { throw POSIXFailure("chmod") }
        try writeConfiguration(isBanned: false)
        // The operators' programs use the module itself.
        let operators = configuration(module: token.modulePath, environment: token.environment, rules: Self.rules(isBanned: false))
        // A refusal that the fault module made up for the daemon is none of theirs.
        try token.directory.write(
            "operator.toml", operators.replacing("[state]\n", with: "[state]\npin-attempts = \"operators-attempts.json\"\n"))
        for key in Self.keys + [Self.forbiddenKey] { try await custodyctl("key", "generate", key) }
        try await custodyctl("audit", "init")
    }

    func writeConfiguration(isBanned: Bool) throws {
        try write(rules: Self.rules(isBanned: isBanned))
    }

    func writeBrokenConfiguration() throws { try write(rules: "[[grant]]\nuser = \"nobody-of-this-name\"\n") }

    private func write(rules: String) throws {
        let environment = token.environment.merging(faults.environment) { _, new in new }
        try token.directory.write("custody.toml", configuration(module: faults.modulePath, environment: environment, rules: rules))
    }

    private func configuration(module: String, environment: [String: String], rules: String) -> String {
        """
        [server]
        socket = "s"
        socket-mode = "0666"
        [token]
        module = "\(module)"
        uri = "\(token.uri)"
        pin-file = "pin"
        sessions = \(sessions)
        hung-call-ms = 500
        canary-interval-ms = 1000
        environment = { \(environment.sorted(by: <).map { "\($0) = \"\($1)\"" }.joined(separator: ", ")) }
        [keys]
        look-interval-ms = 100
        [audit]
        file = "audit.jsonl"
        checkpoint-records = 1000
        checkpoint-interval-ms = 500
        token-anchor-interval-ms = 2000
        [state]
        directory = "state"
        [log]
        level = "notice"
        \(rules)
        """
    }

    private static func rules(isBanned: Bool) -> String {
        let ban = """
            [[deny]]
            everyone = true
            operations = ["wrap", "unwrap", "rewrap", "generate-data-key"]
            context = { tenant = "\(bannedTenant)" }
            """
        return """
            [[grant]]
            user = "\(getuid())"
            keys = ["root", "second"]
            operations = ["wrap", "unwrap", "rewrap", "generate-data-key", "encrypt", "decrypt"]
            [[grant]]
            user = "\(getuid())"
            operations = ["status", "reload"]
            \(isBanned ? ban : "")
            """
    }

    /// Runs `custodyctl` as an operator does and wants it to succeed.
    @discardableResult
    func custodyctl(_ arguments: String...) async throws -> ProcessResult {
        // To verify a long log takes a debug build its time.
        let result = try await run(
            "custodyctl", arguments: arguments + ["--config", token.directory.file("operator.toml")], within: .seconds(3_600))
        guard result.status == .exited(0) else { throw UnexpectedResult(result) }
        return result
    }

    /// What logrotate does, without any word to the daemon.
    func rotateAuditLog(_ number: Int) throws {
        let old = auditFile + String(format: "-%06d", number)
        // A daemon that stands still has not made the file anew after the rotation before.
        guard rename(auditFile, old) == 0 || errno == ENOENT else { throw POSIXFailure("rename \(auditFile)") }
    }

    /// The audit log's files, oldest first.
    func auditFiles() throws -> [String] {
        let names = try FileManager.default.contentsOfDirectory(atPath: token.directory.path).filter { $0.hasPrefix("audit.jsonl") }
        return names.sorted { ($0 == "audit.jsonl" ? "~" : $0) < ($1 == "audit.jsonl" ? "~" : $1) }.map(token.directory.file)
    }
}
