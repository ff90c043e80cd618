import Glibc
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

    func user(_ uid: UInt32) -> String? {
        Self.name(uid, users) { uid in
            Self.lookUp(passwd()) { entry, buffer, size, result in
                getpwuid_r(uid, entry, buffer, size, result)
            } name: { $0.pw_name }
        }
    }

    func group(_ gid: UInt32) -> String? {
        Self.name(gid, groups) { gid in
            Self.lookUp(Glibc.group()) { entry, buffer, size, result in
                getgrgid_r(gid, entry, buffer, size, result)
            } name: { $0.gr_name }
        }
    }

    private static func name(_ id: UInt32, _ known: borrowing Mutex<[UInt32: Known]>, _ ask: (UInt32) -> String?) -> String? {
        if let entry = known.withLock({ $0[id] }), entry.since.duration(to: .now) < lifetime { return entry.name }
        let name = ask(id)
        known.withLock { known in
            if known.count >= capacity { known = [:] }
            known[id] = Known(name: name, since: .now)
        }
        return name
    }

    private static func lookUp<Entry>(
        _ empty: Entry,
        _ ask: (UnsafeMutablePointer<Entry>, UnsafeMutablePointer<CChar>, Int, UnsafeMutablePointer<UnsafeMutablePointer<Entry>?>) -> Int32,
        name: (Entry) -> UnsafeMutablePointer<CChar>?
    ) -> String? {
        var entry = empty
        var buffer = [CChar](repeating: 0, count: 16_384)
        return buffer.withUnsafeMutableBufferPointer { buffer in
            withUnsafeMutablePointer(to: &entry) { pointer in
                var result: UnsafeMutablePointer<Entry>?
                guard let start = buffer.baseAddress else { return nil }
                // A group of thousands does not fit: then its number has to do.
                guard ask(pointer, start, buffer.count, &result) == 0, let result else { return nil }
                return name(result.pointee).map { String(cString: $0) }
            }
        }
    }
}
