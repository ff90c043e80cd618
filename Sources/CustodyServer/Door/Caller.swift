import Custody
import Synchronization

/// Who is connected. What is known of it changes: the account database does, and so do the groups that rules name.
final class Caller: Sendable {
    let credentials: PeerCredentials
    private let current: Mutex<Principal>

    init(_ credentials: PeerCredentials, _ principal: Principal) {
        self.credentials = credentials
        current = Mutex(principal)
    }

    /// As rules see it now.
    var principal: Principal { current.withLock { $0 } }

    func become(_ principal: Principal) { current.withLock { $0 = principal } }
}
