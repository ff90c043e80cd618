import ByteEncoding
import CustodyProtocol
import Foundation
import SwiftProtobuf

/// What `status --json` prints.
struct StatusDocument: Encodable {
    struct Token: Encodable {
        let state: String
        let detail: String?
        let label: String?
        let manufacturer: String?
        let model: String?
        let serial: String?
        let since: String?
        let health: Health
    }
    struct Health: Encodable {
        let latestSuccess: String?
        let latestCanary: String?
        let canaryMicroseconds: UInt64
        let logins: UInt64
        let losses: UInt64
        let hungThreads: UInt32
        let hungThreadsLimit: UInt32
    }
    struct Door: Encodable {
        let connections: UInt32
        let connectionsLimit: UInt32
        let connectionsRefused: UInt64
        let requestsRefused: UInt64
        let bytesInFlight: UInt64
        let bytesInFlightLimit: UInt64
        let detail: String?
    }
    struct Key: Encodable {
        let name: String
        let versions: [Version]
    }
    struct Version: Encodable {
        /// 0 for objects of this name that are no version of the key.
        let version: UInt32
        let id: String
        let state: String
        let wraps: Bool
        let created: String?
        let destroyAfter: String?
        let uses: UInt64
        let usesLimit: UInt64
        let rewrapped: UInt64
        let lastEncrypted: String?
        let lastDecrypted: String?
        let detail: String?
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
    struct Audit: Encodable {
        let file: String
        let writable: Bool
        let durability: String
        let detail: String?
        let sequence: UInt64
        let checkpointSequence: UInt64?
        let checkpointTime: String?
        let checkpointDetail: String?
        let anchor: String
    }
    struct Limit: Encodable {
        let rule: String
        let scope: String
        let refused: UInt64
        let lastRefused: String?
    }
    struct Rules: Encodable {
        let file: String
        let loaded: String?
        let grants: UInt32
        let denials: UInt32
        let limits: UInt32
        let detail: String?
    }

    let serverVersion: String
    let uptimeSeconds: Double
    let token: Token
    let door: Door
    let keys: [Key]
    let operations: Operations
    let queue: Queue
    let auditWritable: Bool
    let audit: Audit
    let limits: [Limit]
    let configuration: Rules

    init(_ report: WireStatusReport) {
        serverVersion = report.serverVersion
        uptimeSeconds = Double(report.uptimeMs) / 1_000
        let token = report.token
        self.token = Token(
            state: Self.name(token.state), detail: Self.text(token.detail), label: Self.text(token.label),
            manufacturer: Self.text(token.manufacturer), model: Self.text(token.model), serial: Self.text(token.serial),
            since: Self.time(token.sinceMs), health: Self.health(token.health))
        let door = report.door
        self.door = Door(
            connections: door.connections, connectionsLimit: door.connectionsLimit, connectionsRefused: door.connectionsRefused,
            requestsRefused: door.requestsRefused, bytesInFlight: door.bytesInFlight,
            bytesInFlightLimit: door.bytesInFlightLimit, detail: Self.text(door.detail))
        keys = report.keys.map { key in Key(name: key.name, versions: key.versions.map(Self.version)) }
        operations = Operations(allowed: report.allowed, denied: report.denied, failed: report.failed)
        queue = Queue(waiting: report.queued, limit: report.queueLimit)
        auditWritable = report.auditWritable
        let audit = report.audit
        self.audit = Audit(
            file: audit.file, writable: report.auditWritable, durability: audit.durability, detail: Self.text(audit.detail),
            sequence: audit.sequence, checkpointSequence: audit.checkpointSequence == 0 ? nil : audit.checkpointSequence,
            checkpointTime: Self.time(audit.checkpointTimeMs), checkpointDetail: Self.text(audit.checkpointDetail),
            anchor: audit.anchor)
        limits = report.limits.map {
            Limit(rule: $0.rule, scope: $0.scope, refused: $0.refused, lastRefused: Self.time($0.lastRefusedMs))
        }
        let rules = report.configuration
        configuration = Rules(
            file: rules.file, loaded: Self.time(rules.loadedMs), grants: rules.grants, denials: rules.denials, limits: rules.limits,
            detail: Self.text(rules.detail))
    }

    private static func health(_ health: WireHealthReport) -> Health {
        Health(
            latestSuccess: time(health.latestSuccessMs), latestCanary: time(health.latestCanaryMs),
            canaryMicroseconds: health.canaryUs, logins: health.logins, losses: health.losses,
            hungThreads: health.hungThreads, hungThreadsLimit: health.hungThreadsLimit)
    }

    private static func version(_ version: WireKeyVersionReport) -> Version {
        Version(
            version: version.version, id: hexadecimal(version.keyID), state: version.version > 0 ? name(version.state) : "foreign",
            wraps: version.wraps, created: text(version.created), destroyAfter: text(version.destroyAfter), uses: version.uses,
            usesLimit: version.usesLimit, rewrapped: version.rewrapped, lastEncrypted: time(version.lastEncryptedMs),
            lastDecrypted: time(version.lastDecryptedMs), detail: text(version.detail))
    }

    private static func text(_ value: String) -> String? { value.isEmpty ? nil : value }

    /// RFC 3339 in UTC; nil for 0, which stands for never.
    private static func time(_ milliseconds: UInt64) -> String? {
        milliseconds == 0 ? nil : Date(timeIntervalSince1970: Double(milliseconds) / 1_000).formatted(.iso8601)
    }

    static func name(_ state: WireTokenReport.State) -> String {
        switch state {
        case .ready: "ready"
        case .recovering: "recovering"
        case .locked: "locked"
        case .unavailable: "unavailable"
        case .degraded: "degraded"
        case .unspecified, .UNRECOGNIZED: "unknown"
        }
    }

    static func name(_ state: WireKeyVersionReport.State) -> String {
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
