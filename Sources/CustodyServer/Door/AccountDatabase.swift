/// What is asked of the machine's account database about callers. It may be on a network, and hang or fail.
struct AccountDatabase: Sendable {
    typealias Entry = SystemAccounts.Entry
    typealias Unavailable = SystemAccounts.Unavailable

    /// nil if the number has no name.
    var user: @Sendable (UInt32) throws(Unavailable) -> Entry?
    /// nil if there is none of this name.
    var uid: @Sendable (String) throws(Unavailable) -> UInt32?
    /// Which of these groups a user is in.
    var groups: @Sendable (Entry, Set<UInt32>) throws(Unavailable) -> [UInt32]
    /// nil if the number has no name.
    var groupName: @Sendable (UInt32) -> String?

    static let system = AccountDatabase(
        user: { uid throws(Unavailable) in try SystemAccounts.entry(ofUID: uid) },
        uid: { name throws(Unavailable) in try SystemAccounts.entry(ofUser: name)?.uid },
        groups: { user, groups throws(Unavailable) in
            let own = SystemAccounts.groups(of: user)
            // The groups are asked as well: where a part of the database fails, that tells, and the user's list is only shorter.
            var found: [UInt32] = []
            for gid in groups where try SystemAccounts.isMember(user.name, listedBy: gid) || own.contains(gid) { found.append(gid) }
            return found.sorted()
        },
        groupName: { SystemAccounts.name(ofGID: $0) })
}
