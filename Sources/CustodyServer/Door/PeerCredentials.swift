import CSystemShim
import Custody
import Glibc

extension Principal {
    /// The peer of a connected Unix socket, from the kernel (SO_PEERCRED, SO_PEERGROUPS), without names. nil if the kernel
    /// does not tell.
    init?(peerOf descriptor: Int32) {
        var peer = csystem_peer()
        guard csystem_peer_credentials(descriptor, &peer) == 0 else { return nil }
        var groups = [gid_t](repeating: 0, count: 64)
        var count = groups.count
        var failure = csystem_peer_groups(descriptor, &groups, &count)
        if failure == ERANGE {
            groups = [gid_t](repeating: 0, count: count)
            failure = csystem_peer_groups(descriptor, &groups, &count)
        }
        guard failure == 0 else { return nil }
        let supplementary = groups.prefix(count).filter { $0 != peer.gid }
        self.init(uid: peer.uid, gids: [peer.gid] + supplementary, pid: peer.pid)
    }

    func named(user: String?, group: String?) -> Principal {
        Principal(uid: uid, gids: gids, pid: pid, user: user, group: group)
    }
}
