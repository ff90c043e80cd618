/// What the vault says of itself.
public struct StatusReport: Sendable {
    public var token: TokenState
    public var keys: [(name: String, versions: [KeyVersion])]
    public var uptime: Duration
    /// Operations since the start, by outcome.
    public var allowed: UInt64
    public var denied: UInt64
    public var failed: UInt64
    public var queued: Int
    public var queueLimit: Int
    public var isAuditWritable: Bool
}
