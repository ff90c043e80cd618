/// What the vault says of itself.
public struct StatusReport: Sendable {
    public var token: TokenReport
    public var keys: [(name: KeyName, versions: [KeyVersion])]
    /// AES keys on the token that are no versions.
    public var strangers: [KeyRing.Stranger] = []
    public var uptime: Duration
    /// Operations since the start, by outcome.
    public var allowed: UInt64
    public var denied: UInt64
    public var failed: UInt64
    public var queued: Int
    public var queueLimit: Int
    public var isAuditWritable: Bool
    public var audit: AuditReport
    public var limits: [LimitReport]
    public var configuration: ConfigurationReport
    /// How often each version was used, as far as this daemon knows.
    public var usage: [KeyID: KeyUsage]
    /// The number of uses past which a version wraps no more.
    public var usesLimit: UInt64
    /// When the counting of uses began, in milliseconds since 1970.
    public var usesCountedSince: UInt64
    /// What the door says of itself; nil if there is none.
    public var door: DoorReport?
    /// Sessions that workers have with the token, at the most.
    public var sessions = 0
    /// What was counted and timed; nil if nobody asked for it.
    public var metrics: MetricsReport?
}

/// Who is connected, and who was turned away since the start.
public struct DoorReport: Sendable {
    public var connections = 0
    public var connectionsLimit = 0
    public var connectionsRefused: UInt64 = 0
    public var requestsRefused: UInt64 = 0
    public var bytesInFlight = 0
    public var bytesInFlightLimit = 0
    /// What keeps new connections from being accepted; nil if nothing does.
    public var trouble: String?

    public init() {}
}

/// What the audit log says of itself.
public struct AuditReport: Sendable {
    public var file: String
    public var durability: String
    /// Why it can't be written; nil if it can.
    public var failure: String?
    /// The number of the latest line.
    public var sequence: UInt64
    /// The line up to which a checkpoint vouches for the log, and when that was made; nil before the first.
    public var checkpoint: (sequence: UInt64, milliseconds: UInt64)?
    /// What keeps checkpoints from being made or anchored, or else what on the token is not believed; nil if there is nothing.
    public var checkpointFailure: String?
    /// Where the newest checkpoint is anchored, in words.
    public var anchor: String
}

/// What one limit has refused.
public struct LimitReport: Sendable {
    /// Where it stands in the configuration.
    public var rule: String
    /// Whose or what's limit it is.
    public var scope: String
    public var refused: UInt64
    public var lastRefusedMilliseconds: UInt64
}

/// What is in force.
public struct ConfigurationReport: Sendable {
    public var file: String
    /// Milliseconds since 1970.
    public var loadedMilliseconds: UInt64
    public var grants: Int
    public var denials: Int
    public var limits: Int
    /// Why the latest attempt to reload changed nothing, or what names nothing that exists; nil if all is well.
    public var trouble: String?

    public init(file: String, loadedMilliseconds: UInt64, grants: Int, denials: Int, limits: Int, trouble: String?) {
        self.file = file
        self.loadedMilliseconds = loadedMilliseconds
        self.grants = grants
        self.denials = denials
        self.limits = limits
        self.trouble = trouble
    }
}
