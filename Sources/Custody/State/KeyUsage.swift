/// How often a key version was used, as far as the daemons with this state directory know.
public struct KeyUsage: Sendable, Hashable {
    /// Encryptions under it, each with a random nonce. Never less than there were.
    public var uses: UInt64 = 0
    /// Blobs of it that Rewrap moved to a newer version.
    public var rewrapped: UInt64 = 0
    /// When it last encrypted and last decrypted, in milliseconds since 1970; nil: not since the counting began.
    public var lastEncrypted: UInt64?
    public var lastDecrypted: UInt64?

    public init() {}
}
