import CustodyClient
import CustodyProtocol
import Foundation
import PKCS11
import TestSupport

/// A daemon on a token of its own behind the fault module, on which cells are run one after the other.
final class Stand {
    let token: SoftHSMToken
    let faults: FaultModule
    private var process: ChildProcess?
    private var logNumber = 0
    /// The open sessions of a daemon that has done everything.
    private(set) var sessions = 0
    /// Requests of one kind, and of many clients.
    private(set) var traffic: [Traffic] = []
    private(set) var operations = 0
    /// The daemon has not served since its start what it was asked for: the next cell needs another one.
    var isDisturbed = false

    static let other = "other"
    static let deadline = Duration.seconds(1)
    /// After how long a call hangs for the daemon.
    static let hungAfter = Duration.milliseconds(700)

    init() async throws {
        faults = try FaultModule()
        token = try await SoftHSMToken()
        try await token.initialize(label: Self.other)
        faults.insert(label: token.label)
        try configure()
        for arguments in [["key", "generate", "root"], ["audit", "init"]] {
            let made = try await run("custodyctl", arguments: arguments + ["--config", configurationFile])
            guard made.status == .exited(0) else { throw UnexpectedResult(made) }
        }
        try await start()
        try await settle()
        sessions = faults.openSessions
    }

    var configurationFile: String { token.directory.file("custody.toml") }
    private var socket: String { token.directory.file("s") }
    private var auditFile: String { "audit-\(logNumber).jsonl" }
    var processID: Int32? { process.flatMap { $0.status == nil ? $0.processID : nil } }
    var exitStatus: ExitStatus? { process?.status }
    var errors: String { process?.errors ?? "" }

    private func configure() throws {
        try RunningDaemon.configure(
            token, uri: "pkcs11:token=\(token.label)",
            audit: "checkpoint-interval-ms = 150\ntoken-anchor-interval-ms = 100", auditFile: auditFile,
            keys: "look-interval-ms = 100", faults: faults)
        let text = try String(contentsOfFile: configurationFile, encoding: .utf8)
        let own = "[token]\nhung-call-ms = \(Int(Self.hungAfter / .milliseconds(1)))\nhung-calls = 32\ncanary-interval-ms = 200\n"
        let whole = text.replacing("[token]\n", with: own).replacing("\"state\"", with: "\"state-\(logNumber)\"")
        try token.directory.write("custody.toml", whole)
    }

    // MARK: The daemon

    /// Starts a daemon; it need not come as far as the token.
    func launch() async throws {
        isDisturbed = false
        process = try ChildProcess("custodyd", arguments: ["--config", configurationFile])
        for client in traffic { await client.shutdown() }
        let wrapped = traffic.flatMap(\.wrapped)
        operations += traffic.map(\.report.operations).reduce(0, +)
        traffic = (0..<4).map { _ in Traffic(socket: socket, deadline: Self.deadline) }
        for client in traffic { client.take(wrapped.suffix(16)) }
    }

    func start() async throws {
        try await launch()
        try await eventually("service") { await self.traffic[0].isServed() }
    }

    /// Waits until it has done all that it does, so that every session is open that it needs.
    func settle() async throws {
        for client in traffic { await client.round() }
        let signed = faults.calls(of: .sign)
        await traffic[0].round()
        try await eventually("a checkpoint", within: .seconds(30)) { self.faults.calls(of: .sign) > signed }
    }

    /// Ends it as a service manager does.
    ///
    /// - Returns: What was not as it should be.
    func stop() async throws -> [String] {
        guard let process else { return [] }
        if process.status == nil { process.signal(SIGTERM) }
        let result = try await process.end(within: .seconds(20))
        self.process = nil
        return result.status == .exited(0) ? [] : ["it ended with \(result.status)"]
    }

    func kill() async throws {
        process?.signal(SIGKILL)
        try await process?.end()
        process = nil
    }

    /// The next daemon writes a log of its own, and knows of no other.
    func beginNewLog() throws {
        logNumber += 1
        try configure()
    }

    // MARK: What is known of it

    func status() async -> WireStatusReport? {
        let client = CustodyClient(.init(socket: socket, deadline: .seconds(2)))
        let report = try? await client.status()
        await client.shutdown()
        return report
    }

    /// What an operator does about a PIN that is right after all: has it tried again, and tells the daemon.
    func correctPIN() async throws {
        let told = try await run("custodyctl", arguments: ["token", "retry-pin", "--config", configurationFile])
        guard told.status == .exited(0) else { throw UnexpectedResult(told) }
        faults.resetLogins()
        let client = CustodyClient(.init(socket: socket, deadline: .seconds(20)))
        _ = try? await client.reload()
        await client.shutdown()
    }

    /// What is wrong with the audit log that its daemons have written.
    func auditProblems() async throws -> [String] {
        let trail = try AuditTrail([token.directory.file(auditFile)])
        var problems = Array(trail.breaks.prefix(3))
        let verified = try await run("custodyctl", arguments: ["audit", "verify", "--config", configurationFile])
        if verified.status != .exited(0) {
            problems.append("custodyctl audit verify: \(verified.status) \((verified.output + verified.errors).prefix(600))")
        }
        return problems
    }

    /// Whether the log has become so long that a daemon takes its time to look at it when it starts.
    var hasLongLog: Bool {
        let attributes = try? FileManager.default.attributesOfItem(atPath: token.directory.file(auditFile))
        return (attributes?[.size] as? Int ?? 0) > 300_000
    }

    func finish() async {
        for client in traffic { await client.shutdown() }
        operations += traffic.map(\.report.operations).reduce(0, +)
        traffic = []
    }
}
