import ByteEncoding
import Glibc
import PKCS11

/// Makes versions of root keys on the token, changes their state, and destroys them.
///
/// Needs a read-write session with the user logged in. Some tokens answer C_GenerateKey before the key is on their disk. So
/// a version is made disabled: no daemon that sees it uses it. Whoever calls has to sync, finalise the module, find the key
/// from a fresh process and ``change(_:_:_:)`` it to active there, and sync again, before saying that it exists.
public enum KeyProvisioner {
    /// The template of a root key's version, every attribute written out: the tokens' defaults differ and some are
    /// dangerous.
    ///
    /// - Parameter onToken: False for a throw-away session key with otherwise the same attributes, which may be used at
    ///   once.
    public static func template(name: String, id: KeyID, onToken: Bool = true) -> [Attribute] {
        [
            .objectClass(.secretKey), .keyType(.aes), .valueLength(32),
            .bool(.token, onToken), .bool(.isPrivate, true), .bool(.sensitive, true), .bool(.extractable, false),
            .bool(.encrypt, !onToken), .bool(.decrypt, !onToken),
            .bool(.wrap, false), .bool(.unwrap, false), .bool(.sign, false), .bool(.verify, false), .bool(.derive, false),
            .bool(.modifiable, true), .label(name), .id(id.bytes),
        ]
    }

    /// Makes version 1 of a new root key, disabled.
    ///
    /// - Throws: ``CustodyError`` with `invalidRequest` if the name is not allowed or not free, `keyRefused` if the token
    ///   made a key that fails the proof of custody; that key is destroyed.
    public static func generate(_ name: String, _ session: borrowing Session) throws(CustodyError) -> KeyInspection {
        try KeyName.check(name)
        guard try objects(named: name, session).isEmpty, let key = try make(name, version: 1, session) else {
            throw CustodyError(
                .invalidRequest,
                "the token has a key '\(name)' already; `custodyctl key rotate \(name)` adds a version, `custodyctl key show \(name)` shows it")
        }
        return key
    }

    /// Makes the next version of a root key, disabled. Its number is one more than the highest there is, whatever state that
    /// one is in; if another process makes a version of the same number meanwhile, one of the two takes the next.
    ///
    /// - Throws: ``CustodyError`` with `keyNotFound` if there is no such key, else as ``generate(_:_:)``.
    public static func rotate(_ name: String, _ session: borrowing Session) throws(CustodyError) -> KeyInspection {
        try KeyName.check(name)
        for _ in 1...attempts {
            if let key = try make(name, version: try nextVersion(name, session), session) { return key }
        }
        throw CustodyError(
            .invalidRequest, "too many other processes add versions to key '\(name)' at this time; nothing was added, try again")
    }

    // MARK: Steps

    /// Of as many processes that rotate a key at once, one has its number after every attempt.
    private static let attempts = 50

    private static func nextVersion(_ name: String, _ session: borrowing Session) throws(CustodyError) -> UInt32 {
        let present = try objects(named: name, session)
        guard !present.isEmpty else {
            throw CustodyError(.keyNotFound, "there is no key '\(name)' on the token; `custodyctl key generate \(name)` makes it")
        }
        guard let highest = present.compactMap({ $0.id?.version }).max() else {
            throw CustodyError(
                .keyRefused,
                "the token's key '\(name)' was not made by Custody and has no versions; `custodyctl key generate` makes a key of another name")
        }
        guard highest < .max else {
            throw CustodyError(.keyNotUsable, "key '\(name)' has reached the highest version number; make a key of another name")
        }
        return highest + 1
    }

    /// - Returns: nil if the number went to another process; then nothing is left behind.
    private static func make(_ name: String, version: UInt32, _ session: borrowing Session) throws(CustodyError) -> KeyInspection? {
        let id = KeyID(newFor: version)
        // NSS replaces the object that has the id and answers CKR_OK.
        let sameID = try reaching("search for the new CKA_ID") { () throws(PKCS11Error) in
            try session.objects(.secretKey, matching: [.id(id.bytes)])
        }
        guard sameID.isEmpty else {
            throw CustodyError(.internalError, "the token has an object with the fresh CKA_ID \(id) already; nothing was changed, try again")
        }
        let object = try reaching("generate key '\(name)' version \(version)") { () throws(PKCS11Error) in
            try generateObject(template(name: name, id: id), session)
        }
        do throws(CustodyError) {
            let key = try prove(object, name, id, session)
            if try claim(name, id, session) { return dated(key, session) }
        } catch {
            var refusal = error
            do {
                try session.destroyObject(object)
                refusal.message += "; it was destroyed again"
            } catch {
                refusal.message += "; it could not be destroyed (\(error)), remove the object with CKA_ID \(id) by hand"
            }
            throw refusal
        }
        try reaching("destroy the disabled key with CKA_ID \(id), whose number another process has taken") { () throws(PKCS11Error) in
            try session.destroyObject(object)
        }
        return nil
    }

    /// C_GenerateKey with the day of the making, for tokens that keep one.
    private static func generateObject(_ template: [Attribute], _ session: borrowing Session) throws(PKCS11Error) -> ObjectHandle {
        guard KeyDates.areKept(session) else { return try session.generateKey(.aesKeyGeneration, template) }
        do throws(PKCS11Error) {
            return try session.generateKey(.aesKeyGeneration, template + [.date(.startDate, .today)])
        } catch {
            switch error.returnValue {
            case .attributeTypeInvalid?, .attributeValueInvalid?, .attributeReadOnly?, .templateInconsistent?:
                return try session.generateKey(.aesKeyGeneration, template)
            default: throw error
            }
        }
    }

    /// The key with the day of its making, also on a token that did not keep it. A version without one is as good.
    private static func dated(_ key: KeyInspection, _ session: borrowing Session) -> KeyInspection {
        guard key.attributes.day(.startDate) == nil else { return key }
        try? KeyDates.set(.startDate, .today, of: key.key, session)
        var dated = key
        if let read = try? KeyObject(key.object, session) { dated.key = read }
        return dated
    }

    /// Whether the new, still disabled version may keep its number: not if there is another one of the name and number.
    ///
    /// Everybody looks after making, so of two that made one number at least the later sees the other. Who sees a smaller
    /// id, or a version that was activated (its maker saw nobody), gives way at once. Who sees only greater ids waits until
    /// their makers have seen it and gone; one that stays was made by a process that looked too early or was killed, and
    /// has the number.
    private static func claim(_ name: String, _ id: KeyID, _ session: borrowing Session) throws(CustodyError) -> Bool {
        let end = ContinuousClock.now + .seconds(3)
        while true {
            let rivals = try reaching("look for key '\(name)'") { () throws(PKCS11Error) in
                try KeyObject.all(named: name, session).filter { $0.id?.version == id.version && $0.id != id }
            }
            if rivals.isEmpty { return true }
            let mustGiveWay = rivals.contains { $0.state != .disabled || hexadecimal($0.idBytes) < id.description }
            if mustGiveWay || ContinuousClock.now > end { return false }
            usleep(10_000)
        }
    }

    private static func prove(
        _ object: ObjectHandle, _ name: String, _ id: KeyID, _ session: borrowing Session
    ) throws(CustodyError) -> KeyInspection {
        let found = try reaching("find the new key") { () throws(PKCS11Error) in try session.objects(.secretKey, matching: [.id(id.bytes)]) }
        guard found == [object] else {
            throw CustodyError(.keyRefused, "the token shows \(found.count) objects with the CKA_ID \(id) of the key that it just made")
        }
        let key = try reaching("read the new key") { () throws(PKCS11Error) in KeyInspection(try KeyObject(object, session), session) }
        guard key.name == name, key.id == id else {
            throw CustodyError(.keyRefused, "the token gave the new key another label or CKA_ID than it was told: \(key.key.title)")
        }
        guard key.isProven, key.state == .disabled else {
            let findings = key.findings.isEmpty ? ["it was to be made disabled"] : key.findings
            throw CustodyError(.keyRefused, "the token made \(key.key.title) but it fails the proof of custody: " + findings.joined(separator: "; "))
        }
        return key
    }

    /// Every secret key of this name, of whatever type: a name that another kind of key bears is not free.
    private static func objects(named name: String, _ session: borrowing Session) throws(CustodyError) -> [(object: ObjectHandle, id: KeyID?)] {
        try reaching("search for key '\(name)'") { () throws(PKCS11Error) in
            var found: [(object: ObjectHandle, id: KeyID?)] = []
            for object in try session.objects(.secretKey, matching: [.bool(.token, true), .label(name)]) {
                let id = KeyID(try session.attributes(of: object, [.id]).bytes(.id) ?? [])
                found.append((object, id.flatMap { $0.version > 0 ? $0 : nil }))
            }
            return found
        }
    }

    static func reaching<R>(_ what: String, _ body: () throws(PKCS11Error) -> R) throws(CustodyError) -> R {
        do {
            return try body()
        } catch {
            throw failed(what, error)
        }
    }

    static func failed(_ what: String, _ error: PKCS11Error) -> CustodyError {
        CustodyError(Fault(error) == .pin ? .tokenLocked : .tokenUnavailable, "the token could not \(what): \(error)")
    }
}
