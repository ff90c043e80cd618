import Custody
import Dispatch
import Synchronization

/// Names of uids and gids for the record. Each is asked for at most once a minute, and never on the thread that accepts
/// connections: the machine's account database may be on a network, and hang.
final class AccountNames: Sendable {
    private struct Known {
        var name: String?
        var since: ContinuousClock.Instant

        var isFresh: Bool { since.duration(to: .now) < AccountNames.lifetime }
    }

    private static let lifetime = Duration.seconds(60)
    /// More callers than this begin anew: a flood of uids must not fill the memory.
    private static let capacity = 1_024

    private let users = Mutex<[UInt32: Known]>([:])
    private let groups = Mutex<[UInt32: Known]>([:])
    private let queue = DispatchQueue(label: "account-names")
    /// Any number of unknown uids must not stand in the way of those that have grants.
    private let strangers = DispatchQueue(label: "strangers-names")

    /// Gives a caller its names: at once if they are known, old ones too, else when they have been asked for.
    ///
    /// - Parameter isStranger: No grant names it.
    func name(_ principal: Principal, isStranger: Bool, then body: @escaping @Sendable (Principal) -> Void) {
        guard let gid = principal.gids.first else { return body(principal) }
        let (user, group) = (users.withLock { $0[principal.uid] }, groups.withLock { $0[gid] })
        if let user, let group { body(principal.named(user: user.name, group: group.name)) }
        if let user, let group, user.isFresh, group.isFresh { return }
        let isServed = user != nil && group != nil
        (isStranger ? strangers : queue).async {
            let named = principal.named(
                user: Self.name(principal.uid, self.users, SystemAccounts.name(ofUID:)),
                group: Self.name(gid, self.groups, SystemAccounts.name(ofGID:)))
            if !isServed { body(named) }
        }
    }

    /// Asks, unless somebody has a moment ago.
    private static func name(_ id: UInt32, _ known: borrowing Mutex<[UInt32: Known]>, _ ask: (UInt32) -> String?) -> String? {
        if let entry = known.withLock({ $0[id] }), entry.isFresh { return entry.name }
        let name = ask(id)
        known.withLock { known in
            if known.count >= capacity { known = [:] }
            known[id] = Known(name: name, since: .now)
        }
        return name
    }
}
