/// Who calls: the peer's credentials as the kernel recorded them when it connected, and what this machine's databases say of
/// them. Nothing of it comes from the client.
public final class Principal: Sendable {
    public let uid: UInt32
    /// Whose the uid is, if it belongs to a range that somebody may use in a user namespace; nil if it is an account itself.
    public let subordination: Subordination?
    public let groups: Groups
    /// The systemd unit of the process that connected; nil if it is not known.
    public let unit: SystemdUnit?
    /// The process that connected; a number for the record, since processes come and go.
    public let pid: Int32
    /// The names that this machine has for the uid and the primary gid, for the record; decisions go by the numbers.
    public let user: String?
    public let group: String?

    public init(
        uid: UInt32, subordination: Subordination? = nil, groups: Groups, unit: SystemdUnit? = nil, pid: Int32, user: String? = nil,
        group: String? = nil
    ) {
        self.uid = uid
        self.subordination = subordination
        self.groups = groups
        self.unit = unit
        self.pid = pid
        self.user = user
        self.group = group
    }

    /// An account with all of its groups.
    public convenience init(uid: UInt32, gids: [UInt32], pid: Int32, user: String? = nil, group: String? = nil) {
        self.init(uid: uid, groups: Groups(ofProcess: gids, ofAccount: gids), pid: pid, user: user, group: group)
    }

    /// The groups of the process, as far as rules name any.
    public var gids: [UInt32] { groups.ofProcess }

    /// On whose account the use goes: a person's, however many uids that person has.
    public var account: UInt32 { subordination?.account ?? uid }

    /// For people.
    var accountName: String {
        let name = subordination == nil ? user : subordination?.ownerName
        return name.map { "user \($0)" } ?? "uid \(account)"
    }
}

/// That a uid belongs to a range of subordinate uids (subuid(5)).
public struct Subordination: Sendable, Hashable {
    /// The owner's uid, or one of the range's that stands for all of it where the owner is not known, or is root.
    public let account: UInt32
    /// Those who may use the range; nil if it is not known who they are.
    public let owners: [UInt32]?
    /// The first owner's name, for the record.
    public let ownerName: String?

    public init(account: UInt32, owners: [UInt32]?, ownerName: String?) {
        self.account = account
        self.owners = owners
        self.ownerName = ownerName
    }
}
