import Glibc

/// The machine's users and groups by name; a number stands for itself.
public enum SystemAccounts {
    /// A user as the machine's databases have it.
    public struct User: Sendable, Hashable {
        /// nil for a number that has no name.
        public let name: String?
        public let uid: UInt32
        /// The primary group first; empty for a number that has no name.
        public let gids: [UInt32]
    }

    public static func uid(ofUser name: String) -> UInt32? {
        UInt32(name) ?? entry(ofUser: name)?.uid
    }

    public static func gid(ofGroup name: String) -> UInt32? {
        if let number = UInt32(name) { return number }
        return read(group(), { getgrnam_r(name, $0, $1, $2, $3) }) { $0.gr_gid }
    }

    /// nil if the number has no name.
    public static func name(ofUID uid: UInt32) -> String? { entry(ofUID: uid)?.name }

    /// nil if the number has no name.
    public static func name(ofGID gid: UInt32) -> String? {
        read(group(), { getgrgid_r(gid, $0, $1, $2, $3) }) { String(cString: $0.gr_name) }
    }

    /// A user with its groups; nil if there is none of this name.
    public static func user(_ name: String) -> User? {
        guard let uid = UInt32(name) else {
            return entry(ofUser: name).map { User(name: $0.name, uid: $0.uid, gids: groups(of: $0.name, primary: $0.gid)) }
        }
        guard let entry = entry(ofUID: uid) else { return User(name: nil, uid: uid, gids: []) }
        return User(name: entry.name, uid: uid, gids: groups(of: entry.name, primary: entry.gid))
    }

    private typealias Entry = (name: String, uid: UInt32, gid: UInt32)

    private static func entry(ofUser name: String) -> Entry? {
        read(passwd(), { getpwnam_r(name, $0, $1, $2, $3) }, entry)
    }

    private static func entry(ofUID uid: UInt32) -> Entry? {
        read(passwd(), { getpwuid_r(uid, $0, $1, $2, $3) }, entry)
    }

    private static func entry(_ entry: passwd) -> Entry { (String(cString: entry.pw_name), entry.pw_uid, entry.pw_gid) }

    private static func groups(of name: String, primary: UInt32) -> [UInt32] {
        var count: Int32 = 64
        while true {
            var groups = [gid_t](repeating: 0, count: Int(count))
            let capacity = count
            if getgrouplist(name, primary, &groups, &count) >= 0 {
                return [primary] + groups.prefix(Int(count)).filter { $0 != primary }
            }
            // It says how many there are.
            count = max(count, 2 * capacity)
        }
    }

    /// Calls one of the functions that fill a record whose strings are in a buffer, which is made larger until it is enough.
    /// Those without a buffer are not for several threads.
    private static func read<Record, R>(
        _ empty: Record,
        _ find: (
            UnsafeMutablePointer<Record>, UnsafeMutablePointer<CChar>, Int, UnsafeMutablePointer<UnsafeMutablePointer<Record>?>
        ) -> Int32,
        _ take: (Record) -> R
    ) -> R? {
        var size = 4_096
        while size <= 1 << 24 {
            var record = empty
            var found: UnsafeMutablePointer<Record>?
            var failure: Int32 = 0
            let result: R? = withUnsafeTemporaryAllocation(of: CChar.self, capacity: size) { buffer in
                guard let strings = buffer.baseAddress else { return nil }
                failure = find(&record, strings, size, &found)
                return found == nil ? nil : take(record)
            }
            guard failure == ERANGE else { return result }
            size *= 4
        }
        return nil
    }
}
