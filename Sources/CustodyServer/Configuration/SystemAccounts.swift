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

    /// The databases did not answer, which is not the same as that there is no such entry.
    struct Unavailable: Error {
        let errorNumber: Int32
    }

    typealias Entry = (name: String, uid: UInt32, gid: UInt32)

    public static func uid(ofUser name: String) -> UInt32? {
        number(name) ?? (try? entry(ofUser: name))?.uid
    }

    public static func gid(ofGroup name: String) -> UInt32? {
        if let number = number(name) { return number }
        return try? read(group(), { getgrnam_r(name, $0, $1, $2, $3) }) { $0.gr_gid }
    }

    /// Only as numbers are written: `+0` and `00` are no root. And never -1, which means nobody in particular.
    private static func number(_ name: String) -> UInt32? {
        UInt32(name).flatMap { $0 != .max && String($0) == name ? $0 : nil }
    }

    /// nil if the number has no name.
    public static func name(ofUID uid: UInt32) -> String? { (try? entry(ofUID: uid))?.name }

    /// nil if the number has no name.
    public static func name(ofGID gid: UInt32) -> String? {
        try? read(group(), { getgrgid_r(gid, $0, $1, $2, $3) }) { String(cString: $0.gr_name) }
    }

    /// A user with its groups; nil if there is none of this name.
    public static func user(_ name: String) -> User? {
        guard let uid = number(name) else {
            return (try? entry(ofUser: name)).map { User(name: $0.name, uid: $0.uid, gids: groups(of: $0)) }
        }
        guard let entry = try? entry(ofUID: uid) else { return User(name: nil, uid: uid, gids: []) }
        return User(name: entry.name, uid: uid, gids: groups(of: entry))
    }

    /// - Returns: nil if there is none of this name.
    static func entry(ofUser name: String) throws(Unavailable) -> Entry? {
        try read(passwd(), { getpwnam_r(name, $0, $1, $2, $3) }, entry)
    }

    /// - Returns: nil if the number has no name.
    static func entry(ofUID uid: UInt32) throws(Unavailable) -> Entry? {
        try read(passwd(), { getpwuid_r(uid, $0, $1, $2, $3) }, entry)
    }

    private static func entry(_ entry: passwd) -> Entry { (String(cString: entry.pw_name), entry.pw_uid, entry.pw_gid) }

    /// Whether a group lists the user among its members. It need not list those whose primary group it is.
    static func isMember(_ name: String, listedBy gid: UInt32) throws(Unavailable) -> Bool {
        let isListed: Bool? = try read(group(), { getgrgid_r(gid, $0, $1, $2, $3) }) { group in
            var member = group.gr_mem
            while let text = member?.pointee {
                if strcmp(text, name) == 0 { return true }
                member = member?.successor()
            }
            return false
        }
        return isListed ?? false
    }

    /// The primary group first. A part of the database that fails is passed over by the C library.
    static func groups(of entry: Entry) -> [UInt32] {
        var count: Int32 = 64
        while true {
            var groups = [gid_t](repeating: 0, count: Int(count))
            let capacity = count
            if getgrouplist(entry.name, entry.gid, &groups, &count) >= 0 {
                return [entry.gid] + groups.prefix(Int(count)).filter { $0 != entry.gid }
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
    ) throws(Unavailable) -> R? {
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
            if let result { return result }
            switch failure {
            // By getpwnam(3), all of these say that there is no such entry.
            case 0, ENOENT, ESRCH: return nil
            case ERANGE: size *= 4
            default: throw Unavailable(errorNumber: failure)
            }
        }
        throw Unavailable(errorNumber: ERANGE)
    }
}
