/// Who calls: the peer's credentials as the kernel recorded them when it connected. Nothing of it comes from the client.
public struct Principal: Sendable, Hashable {
    public let uid: UInt32
    /// The primary and the supplementary groups.
    public let gids: [UInt32]
    /// The process that connected; a number for the record, since processes come and go.
    public let pid: Int32
    /// The names that this machine has for the uid and the primary gid, for the record; decisions go by the numbers.
    public let user: String?
    public let group: String?

    public init(uid: UInt32, gids: [UInt32], pid: Int32, user: String? = nil, group: String? = nil) {
        self.uid = uid
        self.gids = gids
        self.pid = pid
        self.user = user
        self.group = group
    }
}
