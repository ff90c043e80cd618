import Custody
import Glibc

/// What the account database has said about callers, and whose uid is whose: without a question, what is known.
struct KnownAccounts {
    struct Account {
        var name: String?
        /// Of the groups that were asked for; nil if the database failed.
        var groups: [UInt32]?
        var asked: Set<UInt32> = []
        /// What the database said when it last answered.
        var had: [UInt32] = []
        /// Groups that it has had since the daemon first knew it, and has not any more.
        var withdrawn: Set<UInt32> = []
        var since: ContinuousClock.Instant
        var used: ContinuousClock.Instant

        /// No grant names it: nothing but its name was asked for.
        var isStranger: Bool { asked.isEmpty && groups == nil }

        /// Whether it came here lately, and is asked for again twice a minute.
        func isInUse(_ now: ContinuousClock.Instant) -> Bool { used + .seconds(3_600) > now }

        /// Whether it may be gone by. What is in use grows older than a minute only while the database hangs.
        func isUsable(for groups: Set<UInt32>?, now: ContinuousClock.Instant) -> Bool {
            guard since + .seconds(isInUse(now) ? 600 : 60) > now else { return false }
            return groups.map { self.groups != nil && asked.isSuperset(of: $0) } ?? true
        }
    }

    typealias Owner = SubordinateRanges.Owner

    /// More than this are forgotten: a flood of uids must not fill the memory.
    private static let capacity = 1_024

    private(set) var accounts: [UInt32: Account] = [:]
    private var groupNames: [UInt32: String?] = [:]
    /// By the bytes of their names: equal strings need not be equal names.
    private var owners: [[UInt8]: Owner] = [:]
    private var ranges: SubordinateRanges
    private let read: @Sendable () -> SubordinateRanges
    private let fingerprint: @Sendable () -> [Int]
    private var latestFingerprint: [Int]

    init(reading read: @escaping @Sendable () -> SubordinateRanges, fingerprint: @escaping @Sendable () -> [Int]) {
        self.read = read
        self.fingerprint = fingerprint
        latestFingerprint = fingerprint()
        ranges = read()
    }

    /// By these the files of ``SubordinateRanges`` are seen to have changed.
    static func fingerprintOfFiles() -> [Int] {
        ["/etc/subuid", "/etc/subgid", "/etc/nsswitch.conf"].flatMap { path -> [Int] in
            var info = stat()
            guard stat(path, &info) == 0 else { return [0] }
            return [Int(info.st_ino), Int(info.st_size), info.st_mtim.tv_sec, info.st_mtim.tv_nsec, info.st_ctim.tv_sec, info.st_ctim.tv_nsec]
        }
    }

    /// Why not every range of subordinate uids may be known.
    var gap: String? { ranges.gap }

    /// Whether somebody may give himself the group in a user namespace.
    func canBeAssumed(gid: UInt32) -> Bool { ranges.canBeAssumed(gid: gid) }

    /// Reads the ranges again if they have changed.
    mutating func refreshRanges() {
        let now = fingerprint()
        guard now != latestFingerprint else { return }
        latestFingerprint = now
        ranges = read()
        owners = [:]
    }

    // MARK: What was asked

    /// - Parameters:
    ///   - groups: nil if the database failed, or was not asked for them.
    ///   - asked: The groups that it was asked for.
    mutating func learn(_ uid: UInt32, name: String?, groups: [UInt32]?, asked: Set<UInt32>, now: ContinuousClock.Instant) {
        if accounts.count >= Self.capacity, accounts[uid] == nil { forget(now) }
        var account = accounts[uid] ?? Account(since: now, used: now)
        if let groups {
            account.withdrawn.formUnion(account.had)
            account.withdrawn.subtract(groups)
            account.had = groups
        }
        account.name = name
        account.groups = groups
        account.asked = asked
        account.since = now
        accounts[uid] = account
    }

    /// Makes room: strangers first, who must not be able to have others forgotten.
    private mutating func forget(_ now: ContinuousClock.Instant) {
        accounts = accounts.filter { !$0.value.isStranger }
        if accounts.count >= Self.capacity { accounts = accounts.filter { $0.value.isInUse(now) } }
        if accounts.count >= Self.capacity { accounts = [:] }
    }

    /// Whether its groups were ever asked for: it was no stranger.
    func hasGroups(_ uid: UInt32) -> Bool { accounts[uid].map { !$0.isStranger } ?? false }

    mutating func touch(_ uid: UInt32, now: ContinuousClock.Instant) { accounts[uid]?.used = now }

    mutating func learn(owner name: String, _ owner: Owner) {
        if owners.count >= Self.capacity { owners = [:] }
        owners[Array(name.utf8)] = owner
    }

    mutating func learn(group gid: UInt32, name: String?) {
        if groupNames.count >= Self.capacity { groupNames = [:] }
        groupNames[gid] = .some(name)
    }

    /// nil if it was not asked for.
    func groupName(_ gid: UInt32) -> String?? { groupNames[gid] }

    // MARK: Whose uid it is

    /// The names of owners whose uids have to be asked for. When one is known, there may be more: those whose its uid is.
    func owners(of uid: UInt32) -> [String] {
        ranges.chain(ofOwnersOf: uid, owner: owner).links.map { $0.range.owner }.filter { $0 != "root" && UInt32($0) == nil }
    }

    /// The names of all owners that are not known yet.
    var unknownOwners: [String] {
        Set(ranges.ranges.filter { !$0.isRoots && UInt32($0.owner) == nil }.map(\.owner)).filter {
            if case .uid? = owners[Array($0.utf8)] { false } else { true }
        }
    }

    /// Whether an owner was asked for, and there was an answer.
    func isKnown(owner name: String) -> Bool {
        switch owners[Array(name.utf8)] {
        case .uid, .nobody: true
        case .unknown, nil: false
        }
    }

    /// nil if the uid is an account of its own.
    func subordination(of uid: UInt32) -> Subordination? {
        guard !ranges.ranges(with: uid).isEmpty else {
            return ranges.gap == nil || accounts[uid]?.name != nil ? nil : subordinationInGap(uid)
        }
        return ranges.subordination(of: uid, owner: owner, name: { accounts[$0]?.name })
    }

    private func owner(_ range: SubordinateRanges.Range) -> Owner {
        if range.isRoots { return .uid(0) }
        return UInt32(range.owner).map { .uid($0) } ?? owners[Array(range.owner.utf8)] ?? .unknown
    }

    /// Where it can't be known who has which ranges, a uid without a name may be anybody's. Ranges have 65,536 uids.
    private func subordinationInGap(_ uid: UInt32) -> Subordination {
        Subordination(account: uid < 65_536 ? uid : uid & 0xFFFF_0000, owners: nil, ownerName: nil)
    }
}
