import ArgumentParser
import ByteEncoding
import Custody
import CustodyClient
import CustodyProtocol
import SwiftProtobuf
import ToolSupport

/// `status`: what the daemon says of itself.
struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show what the daemon, its token and its keys are doing.",
        discussion: """
            Example: custodyctl status --json

            Exit code 0 if the token is ready and the audit log can be written, 69 if not.
            """)

    private struct Document: Encodable {
        struct Token: Encodable {
            let state: String
            let detail: String?
            let label: String?
            let manufacturer: String?
            let model: String?
            let serial: String?
        }
        struct Key: Encodable {
            let name: String
            let versions: [Version]
        }
        struct Version: Encodable {
            let version: UInt32
            let id: String
            let state: String
            /// This is the version that wraps.
            let wraps: Bool
            let detail: String?
            /// Days in UTC: when it was made, if the token tells, and the last one on which it can't be destroyed yet.
            let created: String?
            let destroyAfter: String?
            let uses: UInt64
        }
        struct Operations: Encodable {
            let allowed: UInt64
            let denied: UInt64
            let failed: UInt64
        }
        struct Queue: Encodable {
            let waiting: UInt32
            let limit: UInt32
        }
        let serverVersion: String
        let uptimeSeconds: Double
        let token: Token
        let keys: [Key]
        let operations: Operations
        let queue: Queue
        let auditWritable: Bool
    }

    @OptionGroup var client: ClientOptions
    @OptionGroup var common: CommonOptions

    func run() async throws {
        let report = try await client.withClient(common) { client throws(CustodyClientError) in try await client.status() }
        let document = Self.document(report)
        if common.json { try Output.json(document) } else { Self.show(document) }
        guard report.token.state == .ready, report.auditWritable else { throw ExitCode(ToolExit.unavailable) }
    }

    private static func document(_ report: WireStatusReport) -> Document {
        func text(_ value: String) -> String? { value.isEmpty ? nil : value }
        let token = report.token
        return Document(
            serverVersion: report.serverVersion, uptimeSeconds: Double(report.uptimeMs) / 1_000,
            token: .init(
                state: name(token.state), detail: text(token.detail), label: text(token.label),
                manufacturer: text(token.manufacturer), model: text(token.model), serial: text(token.serial)),
            keys: report.keys.map { key in
                .init(name: key.name, versions: key.versions.map { version in
                    .init(
                        version: version.version, id: hexadecimal(version.keyID), state: name(version.state), wraps: version.wraps,
                        detail: text(version.detail), created: text(version.created), destroyAfter: text(version.destroyAfter),
                        uses: version.uses)
                })
            },
            operations: .init(allowed: report.allowed, denied: report.denied, failed: report.failed),
            queue: .init(waiting: report.queued, limit: report.queueLimit), auditWritable: report.auditWritable)
    }

    private static func show(_ document: Document) {
        var table = Table()
        table.add("custodyd", "\(document.serverVersion), up \(Int(document.uptimeSeconds)) s")
        let token = document.token
        table.add("token", token.label.map { "\(token.state): '\($0)', \(token.manufacturer ?? "") \(token.model ?? ""), serial \(token.serial ?? "")" }
            ?? "\(token.state): \(token.detail ?? "")")
        table.add("operations", "\(document.operations.allowed) allowed, \(document.operations.denied) denied, \(document.operations.failed) failed")
        table.add("queue", "\(document.queue.waiting) of \(document.queue.limit)")
        table.add("audit log", document.auditWritable ? "writable" : "CAN'T BE WRITTEN: every operation fails")
        table.show()
        guard !document.keys.isEmpty else { return print("\nThe token holds no keys.") }
        print("")
        var keys = Table(["KEY", "VERSION", "STATE", "CREATED", "USES", "CKA_ID", "NOTE"])
        for key in document.keys {
            for version in key.versions {
                let note = version.detail ?? version.destroyAfter.map { "after \($0)" } ?? (version.wraps ? "wraps" : "")
                keys.add(key.name, "\(version.version)", version.state, version.created ?? "-", "\(version.uses)", version.id, note)
            }
        }
        keys.show()
    }

    private static func name(_ state: WireTokenReport.State) -> String {
        switch state {
        case .ready: "ready"
        case .connecting: "connecting"
        case .locked: "locked"
        case .unavailable: "unavailable"
        case .unspecified, .UNRECOGNIZED: "unknown"
        }
    }

    private static func name(_ state: WireKeyVersionReport.State) -> String {
        switch state {
        case .active: "active"
        case .deactivated: "deactivated"
        case .disabled: "disabled"
        case .refused: "refused"
        case .scheduledForDestruction: "scheduled-for-destruction"
        case .unspecified, .UNRECOGNIZED: "unknown"
        }
    }
}
