import ArgumentParser
import CustodyClient
import CustodyProtocol
import SwiftProtobuf
import ToolSupport

/// `status`: what the daemon says of itself.
struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show what the daemon, its token, its keys and its audit log are doing.",
        discussion: """
            Example: custodyctl status --json

            Exit code 0 if operations are served (the token is ready or degraded, and the audit log can be written), 69 if not:
            a readiness probe needs no more.
            """)

    @OptionGroup var client: ClientOptions
    @OptionGroup var common: CommonOptions

    func run() async throws {
        let report = try await client.withClient(common) { client throws(CustodyClientError) in try await client.status() }
        let document = StatusDocument(report)
        if common.json { try Output.json(document) } else { Self.show(document) }
        guard [.ready, .degraded].contains(report.token.state), report.auditWritable else { throw ExitCode(ToolExit.unavailable) }
    }

    private static func show(_ document: StatusDocument) {
        var table = Table()
        table.add("custodyd", "\(document.serverVersion), up \(Int(document.uptimeSeconds)) s")
        let token = document.token
        table.add("token", token.label.map { "\(token.state): '\($0)', \(token.manufacturer ?? "") \(token.model ?? ""), serial \(token.serial ?? "")" }
            ?? "\(token.state): \(token.detail ?? "")")
        if token.label != nil, let detail = token.detail { table.add("", "TROUBLE: \(detail)") }
        let health = token.health
        table.add("health", "in this state since \(token.since ?? "-"), latest success \(health.latestSuccess ?? "never"), "
            + "\(health.logins) logins, \(health.losses) losses, \(health.hungThreads) of \(health.hungThreadsLimit) threads hang")
        table.add("operations", "\(document.operations.allowed) allowed, \(document.operations.denied) denied, \(document.operations.failed) failed")
        table.add("queue", "\(document.queue.waiting) of \(document.queue.limit)")
        let door = document.door
        table.add(
            "clients",
            "\(door.connections) of \(door.connectionsLimit) connections, \(door.bytesInFlight / 1_024) of \(door.bytesInFlightLimit / 1_024) KiB in flight; turned away: \(door.connectionsRefused) connections, \(door.requestsRefused) requests")
        if let detail = door.detail { table.add("", "TROUBLE: \(detail)") }
        let rules = document.configuration
        table.add("configuration", "\(rules.file), loaded \(rules.loaded ?? "never"): \(rules.grants) grants, \(rules.denials) denials, \(rules.limits) limits")
        if let detail = rules.detail { table.add("", "TROUBLE: \(detail)") }
        let audit = document.audit
        table.add("audit log", audit.writable
            ? "writable: \(audit.file), line \(audit.sequence), durability \(audit.durability)"
            : "CAN'T BE WRITTEN, every operation fails: \(audit.detail ?? audit.file)")
        table.add("checkpoint", audit.checkpointSequence.map { "line \($0) at \(audit.checkpointTime ?? ""), anchored in: \(audit.anchor)" } ?? "none yet")
        if let detail = audit.checkpointDetail { table.add("", "TROUBLE: \(detail)") }
        for limit in document.limits {
            table.add("limit", "\(limit.rule), \(limit.scope): refused \(limit.refused), latest \(limit.lastRefused ?? "")")
        }
        table.show()
        guard !document.keys.isEmpty else { return Output.say("\nThe token holds no keys.") }
        Output.say("")
        var keys = Table(["KEY", "VERSION", "STATE", "CREATED", "USES", "CKA_ID", "NOTE"])
        for key in document.keys {
            for version in key.versions {
                let note = [version.wraps ? "wraps" : nil, version.destroyAfter.map { "to be destroyed after \($0)" }, version.detail]
                keys.add(
                    key.name, version.version > 0 ? "\(version.version)" : "-", version.state, version.created ?? "-", "\(version.uses)", version.id, note.compactMap { $0 }.joined(separator: "; "))
            }
        }
        keys.show()
    }
}
