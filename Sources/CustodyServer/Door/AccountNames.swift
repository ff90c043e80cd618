import Synchronization

/// Names of uids and gids for the record. Each is asked for at most once a minute: the machine's account database may be
/// on a network.
final class AccountNames: Sendable {
    private struct Known {
        var name: String?
        var since: ContinuousClock.Instant
    }

    private static let lifetime = Duration.seconds(60)
    /// More callers than this begin anew: a flood of uids must not fill the memory.
    private static let capacity = 1_024

    private let users = Mutex<[UInt32: Known]>([:])
    private let groups = Mutex<[UInt32: Known]>([:])

    func user(_ uid: UInt32) -> String? { Self.name(uid, users, SystemAccounts.name(ofUID:)) }

    func group(_ gid: UInt32) -> String? { Self.name(gid, groups, SystemAccounts.name(ofGID:)) }

    private static func name(_ id: UInt32, _ known: borrowing Mutex<[UInt32: Known]>, _ ask: (UInt32) -> String?) -> String? {
        if let entry = known.withLock({ $0[id] }), entry.since.duration(to: .now) < lifetime { return entry.name }
        let name = ask(id)
        known.withLock { known in
            if known.count >= capacity { known = [:] }
            known[id] = Known(name: name, since: .now)
        }
        return name
    }
}
