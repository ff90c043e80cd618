/// The groups of a caller, as far as rules name any.
///
/// A process may have groups that the account database does not know (systemd's SupplementaryGroups=), and may have dropped
/// groups that the account has (setgroups in a user namespace). What a grant gives takes the kernel's word; from a denial or a
/// limit nobody gets away by dropping a group.
public struct Groups: Sendable, Hashable {
    /// What the kernel says of the process: its primary and its supplementary groups.
    public let ofProcess: [UInt32]
    /// What the account database says of the account and of its owner; nil if it could not be asked.
    public let ofAccount: [UInt32]?
    /// Groups that the account database had for the account once, and has taken away since.
    public let withdrawn: [UInt32]
    /// Groups of the process of whose numbers somebody has a subordinate range, so that a user namespace gives them to him, and
    /// that the account database does not say that the account has.
    public let assumable: [UInt32]
    /// The groups that were looked for: of others nothing is known. nil is all.
    public let considered: Set<UInt32>?

    public init(ofProcess: [UInt32], ofAccount: [UInt32]?, withdrawn: [UInt32] = [], assumable: [UInt32] = [], considered: Set<UInt32>? = nil) {
        self.ofProcess = ofProcess
        self.ofAccount = ofAccount
        self.withdrawn = withdrawn
        self.assumable = assumable
        self.considered = considered
    }

    /// Whether it is certain that the caller is a member.
    public func surelyContain(_ gid: UInt32) -> Bool { ofProcess.contains(gid) && !withdrawn.contains(gid) }

    /// Whether the caller may be a member, also if that can't be told.
    public func mayContain(_ gid: UInt32) -> Bool {
        guard let ofAccount, considered?.contains(gid) ?? true else { return true }
        return ofProcess.contains(gid) || ofAccount.contains(gid)
    }
}
