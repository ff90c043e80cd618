import ByteEncoding
import PKCS11

/// Makes and destroys versions of root keys on the token.
///
/// Needs a read-write session with the user logged in. Some tokens answer C_GenerateKey before the key is on their disk. So
/// a version is made disabled: no daemon that sees it uses it. Whoever calls has to sync, finalise the module, find the key
/// from a fresh process and ``activate(_:_:)`` it there, and sync again, before saying that it exists.
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
        guard try objects(named: name, session).isEmpty else {
            throw CustodyError(
                .invalidRequest,
                "the token has a key '\(name)' already; `custodyctl key rotate \(name)` adds a version, `custodyctl key show \(name)` shows it")
        }
        return try make(name, version: 1, session)
    }

    /// Makes the next version of a root key, disabled; once active it is the one that wraps. Its number is one more than the
    /// highest there is, whatever state that one is in.
    ///
    /// - Throws: ``CustodyError`` with `keyNotFound` if there is no such key, else as ``generate(_:_:)``.
    public static func rotate(_ name: String, _ session: borrowing Session) throws(CustodyError) -> KeyInspection {
        try KeyName.check(name)
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
        return try make(name, version: highest + 1, session)
    }

    /// Lets a disabled version wrap and unwrap.
    ///
    /// - Returns: The version as the token shows it afterwards.
    /// - Throws: ``CustodyError`` with `keyRefused` if the token does not let its attributes be changed.
    public static func activate(_ key: KeyInspection, _ session: borrowing Session) throws(CustodyError) -> KeyInspection {
        do {
            try session.setAttributes(of: key.object, [.bool(.encrypt, true), .bool(.decrypt, true)])
        } catch {
            throw CustodyError(
                .keyRefused, "the token does not let \(title(key)) be activated, so it stays disabled: \(error)")
        }
        let now = try reaching("read \(title(key))") { () throws(PKCS11Error) in try KeyInspection(key.object, session) }
        guard now.state == .active else {
            throw CustodyError(.keyRefused, "the token said that \(title(key)) was activated, but shows it otherwise")
        }
        return now
    }

    /// Removes one version for ever: what was wrapped under it never opens again.
    ///
    /// - Throws: ``CustodyError``; also if the token still shows the object afterwards.
    public static func destroy(_ key: KeyInspection, _ session: borrowing Session) throws(CustodyError) {
        do {
            try session.destroyObject(key.object)
        } catch {
            throw failed("destroy \(title(key))", error)
        }
        let remaining = try reaching("look for \(title(key))") { () throws(PKCS11Error) in
            try session.objects(.secretKey, matching: [.id(key.idBytes), .label(key.name)])
        }
        guard !remaining.contains(key.object) else {
            throw CustodyError(.internalError, "the token said that \(title(key)) was destroyed but still shows it")
        }
    }

    /// How errors name a key object.
    public static func title(_ key: KeyInspection) -> String {
        key.id.map { "key '\(key.name)' version \($0.version) (CKA_ID \($0))" }
            ?? "key '\(key.name)' (CKA_ID \(key.idBytes.isEmpty ? "empty" : hexadecimal(key.idBytes)))"
    }

    // MARK: Steps

    private static func make(_ name: String, version: UInt32, _ session: borrowing Session) throws(CustodyError) -> KeyInspection {
        let id = KeyID(newFor: version)
        // NSS replaces the object that has the id and answers CKR_OK.
        let sameID = try reaching("search for the new CKA_ID") { () throws(PKCS11Error) in
            try session.objects(.secretKey, matching: [.id(id.bytes)])
        }
        guard sameID.isEmpty else {
            throw CustodyError(.internalError, "the token has an object with the fresh CKA_ID \(id) already; nothing was changed, try again")
        }
        let object: ObjectHandle
        do {
            object = try session.generateKey(.aesKeyGeneration, template(name: name, id: id))
        } catch {
            throw failed("generate key '\(name)' version \(version)", error)
        }
        do throws(CustodyError) {
            return try prove(object, name, id, session)
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
    }

    private static func prove(
        _ object: ObjectHandle, _ name: String, _ id: KeyID, _ session: borrowing Session
    ) throws(CustodyError) -> KeyInspection {
        let found = try reaching("find the new key") { () throws(PKCS11Error) in try session.objects(.secretKey, matching: [.id(id.bytes)]) }
        guard found == [object] else {
            throw CustodyError(.keyRefused, "the token shows \(found.count) objects with the CKA_ID \(id) of the key that it just made")
        }
        let key = try reaching("read the new key") { () throws(PKCS11Error) in try KeyInspection(object, session) }
        guard key.name == name, key.id == id else {
            throw CustodyError(.keyRefused, "the token gave the new key another label or CKA_ID than it was told: \(title(key))")
        }
        guard key.isProven, key.state == .disabled else {
            let findings = key.findings.isEmpty ? ["it was to be made disabled"] : key.findings
            throw CustodyError(.keyRefused, "the token made \(title(key)) but it fails the proof of custody: " + findings.joined(separator: "; "))
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

    private static func reaching<R>(_ what: String, _ body: () throws(PKCS11Error) -> R) throws(CustodyError) -> R {
        do {
            return try body()
        } catch {
            throw failed(what, error)
        }
    }

    private static func failed(_ what: String, _ error: PKCS11Error) -> CustodyError {
        CustodyError(Fault(error) == .pin ? .tokenLocked : .tokenUnavailable, "the token could not \(what): \(error)")
    }
}
