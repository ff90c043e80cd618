import Custody
import Synchronization

/// Who is connected. What is known of it changes: the account database does, and so do the groups that rules name.
final class Caller: Sendable {
    let credentials: PeerCredentials
    private let current: Mutex<Principal>
    private let unitAsked = Atomic(false)

    init(_ credentials: PeerCredentials, _ principal: Principal) {
        self.credentials = credentials
        current = Mutex(principal)
    }

    /// As rules see it now.
    var principal: Principal { current.withLock { $0 } }

    /// Whether its systemd unit was asked for: it is the one at that time, or not known.
    var wasUnitAsked: Bool { unitAsked.load(ordering: .relaxed) }

    func noteUnitAsked() { unitAsked.store(true, ordering: .relaxed) }

    func become(_ principal: Principal) { current.withLock { $0 = principal } }
}
