import PKCS11

/// Makes versions of root keys on the token, changes their state, and destroys them.
///
/// Needs a read-write session with the user logged in. Some tokens answer C_GenerateKey before the key is on their disk. So
/// a version is made disabled: no daemon that sees it uses it. Whoever calls has to sync, finalise the module, find the key
/// from a fresh process and ``activate(_:reactivate:_:)`` it there, and sync again, before saying that it exists.
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
    /// A public object, which anybody can make without the PIN, takes no name.
    ///
    /// - Throws: ``CustodyError`` with `invalidRequest` if the name is not allowed or not free, `keyRefused` if the token
    ///   made a key that fails the proof of custody; that key is destroyed.
    public static func generate(_ name: String, _ session: borrowing Session) throws(CustodyError) -> KeyInspection {
        _ = try KeyName(name)
        guard try objects(named: name, session).isEmpty else {
            throw CustodyError(
                .invalidRequest,
                "the token has a key '\(name)' already; `custodyctl key rotate \(name)` adds a version, `custodyctl key show \(name)` shows it")
        }
        return try make(name, version: 1, session)
    }

    /// Makes the next version of a root key, disabled. Its number is one more than the highest there is, whatever state that
    /// one is in.
    ///
    /// - Parameter reactivate: Also if no version is active.
    /// - Throws: ``CustodyError`` with `keyNotFound` if there is no such key, ``outOfUse(_:)``, else as ``generate(_:_:)``.
    public static func rotate(_ name: String, reactivate: Bool = false, _ session: borrowing Session) throws(CustodyError) -> KeyInspection {
        _ = try KeyName(name)
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
        guard reactivate || present.contains(where: { $0.id != nil && $0.isActive }) else { throw outOfUse(name) }
        return try make(name, version: highest + 1, session)
    }

    /// Nobody's timer undoes the kill switch.
    public static func outOfUse(_ name: String) -> CustodyError {
        CustodyError(
            .keyNotUsable,
            "no version of key '\(name)' is active, so it was taken out of use, and no new one was activated; `custodyctl key enable \(name) --version N` has a version back, `custodyctl key rotate \(name) --reactivate` adds one all the same")
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
        let object = try reaching("generate key '\(name)' version \(version)") { () throws(PKCS11Error) in
            try generateObject(template(name: name, id: id), session)
        }
        return try keeping(object, id, session) { () throws(CustodyError) in dated(try prove(object, name, id, session), session) }
    }

    /// Keeps a new object only if it passes; else it is destroyed again.
    static func keeping<R>(
        _ object: ObjectHandle, _ id: KeyID, _ session: borrowing Session, ifItPasses check: () throws(CustodyError) -> R
    ) throws(CustodyError) -> R {
        do throws(CustodyError) {
            return try check()
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

    private static func prove(
        _ object: ObjectHandle, _ name: String, _ id: KeyID, _ session: borrowing Session
    ) throws(CustodyError) -> KeyInspection {
        let found = try reaching("find the new key") { () throws(PKCS11Error) in try session.objects(.secretKey, matching: [.id(id.bytes)]) }
        // Whoever sees the new id may make a public object of it at once, without the PIN.
        let own = try reaching("read what has the new key's CKA_ID") { () throws(PKCS11Error) in
            var own: [ObjectHandle] = []
            for other in found {
                do throws(PKCS11Error) {
                    let isPublic = try session.attributes(of: other, [.isPrivate]).bool(.isPrivate) == false
                    if other == object || !isPublic { own.append(other) }
                } catch where error.returnValue == .objectHandleInvalid {
                    continue  // removed between the search and the reading
                }
            }
            return own
        }
        guard own == [object] else {
            throw CustodyError(.keyRefused, "the token shows \(own.count) objects with the CKA_ID \(id) of the key that it just made")
        }
        let key = try reaching("read the new key") { () throws(PKCS11Error) in KeyInspection(try KeyObject(object, session), session) }
        guard key.name == name, key.id == id else {
            throw CustodyError(.keyRefused, "the token gave the new key another label or CKA_ID than it was told: \(key.key.title)")
        }
        guard key.findings.isEmpty, key.state == .disabled else {
            let findings = key.findings.isEmpty ? ["it was to be made disabled"] : key.findings
            throw CustodyError(.keyRefused, "the token made \(key.key.title) but it fails the proof of custody: " + findings.joined(separator: "; "))
        }
        return key
    }

    /// Every secret key of this name, of whatever type: a name that another kind of key bears is not free. The id is nil for
    /// what is no version. Public objects are left out: anybody can have made them.
    private static func objects(named name: String, _ session: borrowing Session) throws(CustodyError) -> [(id: KeyID?, isActive: Bool)] {
        try reaching("search for key '\(name)'") { () throws(PKCS11Error) in
            var found: [(id: KeyID?, isActive: Bool)] = []
            for object in try session.objects(.secretKey, matching: [.bool(.token, true), .label(name)]) {
                do throws(PKCS11Error) {
                    let read = try session.attributes(of: object, [.id, .isPrivate, .encrypt, .decrypt])
                    if read.bool(.isPrivate) == false { continue }
                    let id = KeyID(read.bytes(.id) ?? []).flatMap { $0.version > 0 ? $0 : nil }
                    found.append((id, KeyVersion.State(read) == .active))
                } catch where error.returnValue == .objectHandleInvalid {
                    continue  // removed between the search and the reading
                }
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
