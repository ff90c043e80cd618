import ByteEncoding
import Glibc
import PKCS11

/// From the making of a version, which leaves it disabled, to its first use; for a fresh process.
extension KeyProvisioner {
    /// Gives way if another process has made a version of the same name and number, as several that rotate a key at once do;
    /// to be called before the version is activated, by a process that did not make it.
    ///
    /// Everybody looks after making, so of two that made one number at least the later sees the other. Who sees a smaller
    /// id, or a version that was activated (nobody was there when its maker looked), gives way at once. Who sees only
    /// greater ids waits until they are gone; one that stays was there first or its maker was killed, and keeps the number.
    ///
    /// By a process that did not make it, because SoftHSM shows a process that has just made an object nothing that another
    /// one made a moment before: it takes the other's change to the token's generation for its own.
    ///
    /// - Returns: Whether the version keeps its number; if not, it was destroyed.
    public static func claim(_ key: KeyObject, _ session: borrowing Session) throws(CustodyError) -> Bool {
        let end = ContinuousClock.now + .seconds(3)
        while true {
            let rivals = try reaching("look for key '\(key.name)'") { () throws(PKCS11Error) in
                try otherVersions(of: key, session).filter { $0.id?.version == key.id?.version }
            }
            if rivals.isEmpty { return true }
            let mustGiveWay = rivals.contains { $0.state != .disabled || hexadecimal($0.idBytes) < hexadecimal(key.idBytes) }
            if mustGiveWay || ContinuousClock.now > end {
                try destroy(key, session)
                return false
            }
            usleep(10_000)
        }
    }

    /// Activates a version that another process has made, unless all others of its key were taken out of use meanwhile.
    ///
    /// Looks before and after: who takes a key out of use looks again as well, so one of the two sees the other.
    ///
    /// - Returns: Whether it is active; if not it was destroyed, or disabled again if somebody may have used it.
    public static func activate(_ key: KeyObject, reactivate: Bool, _ session: borrowing Session) throws(CustodyError) -> Bool {
        func isInUse() throws(CustodyError) -> Bool {
            if reactivate { return true }
            let others = try reaching("look for key '\(key.name)'") { () throws(PKCS11Error) in try otherVersions(of: key, session) }
            return others.isEmpty || others.contains { $0.state == .active }
        }
        guard try isInUse() else {
            try destroy(key, session)
            return false
        }
        guard let active = try change(key, .enable, session), try !isInUse() else { return true }
        _ = try change(active, .disable, session)
        return false
    }

    /// The other versions of a key.
    private static func otherVersions(of key: KeyObject, _ session: borrowing Session) throws(PKCS11Error) -> [KeyObject] {
        try KeyObject.all(named: key.name, session).filter { $0.id != nil && !$0.isPublic && $0.idBytes != key.idBytes }
    }
}
