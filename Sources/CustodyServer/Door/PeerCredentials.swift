import CSystemShim
import Custody
import Glibc

/// The peer of a connected Unix socket as the kernel recorded it when it connected (SO_PEERCRED, SO_PEERGROUPS).
struct PeerCredentials: Sendable {
    let uid: UInt32
    let gid: UInt32
    let pid: Int32

    init(uid: UInt32, gid: UInt32, pid: Int32) { (self.uid, self.gid, self.pid) = (uid, gid, pid) }

    /// nil if the kernel does not tell.
    init?(of descriptor: Int32) {
        var peer = csystem_peer()
        guard csystem_peer_credentials(descriptor, &peer) == 0 else { return nil }
        (uid, gid, pid) = (peer.uid, peer.gid, peer.pid)
    }

    /// How many supplementary groups make a long list: reading it takes its time.
    static let longList = 64

    /// Whether the peer has a long list of groups.
    static func hasLongList(_ descriptor: Int32) -> Bool {
        var count = 0
        return csystem_peer_groups(descriptor, nil, &count) == ERANGE && count > longList
    }

    /// Those of the given groups that the peer has, however many others. nil if the kernel does not tell.
    func groups(of descriptor: Int32, among wanted: Set<UInt32>) -> [UInt32]? {
        guard !wanted.isEmpty else { return [] }
        var list = [gid_t](repeating: 0, count: Self.longList)
        var count = list.count
        var failure = csystem_peer_groups(descriptor, &list, &count)
        if failure == ERANGE {
            list = [gid_t](repeating: 0, count: count)
            failure = csystem_peer_groups(descriptor, &list, &count)
        }
        guard failure == 0 else { return nil }
        list.removeLast(list.count - count)
        // The kernel keeps them in order.
        if zip(list, list.dropFirst()).contains(where: >) { list.sort() }
        return wanted.filter { $0 == gid || list.hasInOrder($0) }.sorted()
    }
}

extension [gid_t] {
    /// By halving.
    fileprivate func hasInOrder(_ wanted: gid_t) -> Bool {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if self[middle] < wanted { low = middle + 1 } else { high = middle }
        }
        return low < count && self[low] == wanted
    }
}
