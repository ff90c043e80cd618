import PKCS11

/// Makes the audit key on the token, and proves it.
///
/// Needs a read-write session with the user logged in. Whoever calls has to sync and find the key again through a module
/// that was initialised anew before saying that it exists.
public enum AuditKeyProvisioner {
    /// What was proven of a key.
    public struct Proof: Sendable, Hashable {
        /// What the trial to take it out showed.
        public let trial: ProofOfCustody.Trial
        public let isLocal: Bool?
    }

    /// The template of an audit key, every attribute written out: it authenticates and does nothing else.
    ///
    /// - Parameters:
    ///   - onToken: False for a throw-away session key with otherwise the same attributes.
    ///   - verifies: Not every token lets one key do both.
    static func template(id: KeyID, onToken: Bool, verifies: Bool) -> [Attribute] {
        [
            .objectClass(.secretKey), .keyType(.genericSecret), .valueLength(32),
            .bool(.token, onToken), .bool(.isPrivate, true), .bool(.sensitive, true), .bool(.extractable, false),
            .bool(.sign, true), .bool(.verify, verifies),
            .bool(.encrypt, false), .bool(.decrypt, false), .bool(.wrap, false), .bool(.unwrap, false), .bool(.derive, false),
            .bool(.modifiable, true), .label(AuditKey.label), .id(id.bytes),
        ]
    }

    /// Makes the next version; the first is version 1.
    ///
    /// - Throws: ``CustodyError`` with `keyRefused` if the token can't do what an audit key has to, or makes one that could
    ///   leave it; then no key stays behind.
    public static func make(_ session: borrowing Session) throws(CustodyError) -> (key: AuditKey, proof: Proof) {
        // Only what is believed counts: anybody can make an object with the highest number there is.
        let highest = try reaching("search for audit keys") { () throws(PKCS11Error) in try AuditKeys(session) }.newest?.id.version ?? 0
        guard highest < .max else { throw CustodyError(.keyNotUsable, "the audit key has reached the highest version number") }
        let id = KeyID(newFor: highest + 1)
        // NSS replaces the object that has the id and answers CKR_OK.
        let sameID = try reaching("search for the new CKA_ID") { () throws(PKCS11Error) in
            try session.objects(.secretKey, matching: [.id(id.bytes)])
        }
        guard sameID.isEmpty else {
            throw CustodyError(.internalError, "the token has an object with the fresh CKA_ID \(id) already; nothing was changed, try again")
        }
        let verifies = try tryTemplates(id, session)
        let object: ObjectHandle
        do {
            object = try session.generateKey(.genericSecretKeyGeneration, template(id: id, onToken: true, verifies: verifies))
        } catch {
            throw failed("generate the audit key", error)
        }
        return try KeyProvisioner.keeping(object, id, session) { () throws(CustodyError) in
            let found = try reaching("find the new audit key") { () throws(PKCS11Error) in
                try session.objects(.secretKey, matching: [.bool(.token, true), .label(AuditKey.label), .id(id.bytes)])
            }
            guard found.contains(object) else {
                throw CustodyError(.keyRefused, "the token does not show the audit key that it just made")
            }
            let proof = try prove(object, session)
            return (AuditKey(id: id, object: object, trial: proof.trial, isLocal: proof.isLocal), proof)
        }
    }

    /// Whether a key authenticates and can't leave the token.
    ///
    /// - Throws: ``CustodyError`` with `keyRefused` and what speaks against it.
    public static func prove(_ object: ObjectHandle, _ session: borrowing Session) throws(CustodyError) -> Proof {
        let attributes = try reaching("read the audit key") { () throws(PKCS11Error) in
            try session.attributes(of: object, ProofOfCustody.attributeTypes)
        }
        var objections = ProofOfCustody.objections(attributes, .auditKey, ofSessionKey: true)
        let trial = ProofOfCustody.tryToExport(object, session)
        objections += trial.objections(isExtractable: attributes.bool(.extractable))
        guard objections.isEmpty else {
            throw CustodyError(.keyRefused, "the audit key fails its proof: " + objections.joined(separator: "; "))
        }
        try authenticate(object, session)
        return Proof(trial: trial, isLocal: attributes.bool(.local))
    }

    // MARK: Steps

    /// Tries the template with a throw-away session key, so that nothing stays on a token that can't do it.
    ///
    /// - Returns: Whether the token takes CKA_VERIFY.
    private static func tryTemplates(_ id: KeyID, _ session: borrowing Session) throws(CustodyError) -> Bool {
        func generate(verifies: Bool) throws(PKCS11Error) -> ObjectHandle {
            try session.generateKey(.genericSecretKeyGeneration, template(id: id, onToken: false, verifies: verifies))
        }
        var verifies = true
        let trial: ObjectHandle
        do {
            do {
                trial = try generate(verifies: true)
            } catch {
                verifies = false
                trial = try generate(verifies: false)
            }
        } catch {
            throw Fault(error) == .connection || Fault(error) == .pin
                ? failed("make a key to try", error)
                : CustodyError(
                    .keyRefused,
                    "the token makes no key for CKM_SHA256_HMAC (\(error)); without one the log is chained, but nothing vouches for it")
        }
        // What can't be destroyed goes with the session.
        defer { try? session.destroyObject(trial) }
        _ = try prove(trial, session)
        return verifies
    }

    /// Two messages, so that a token which answers the same to everything is found out.
    private static func authenticate(_ key: ObjectHandle, _ session: borrowing Session) throws(CustodyError) {
        let first: [UInt8], again: [UInt8], other: [UInt8]
        do {
            first = try session.hmacSHA256(key, of: Array("custodyctl audit init".utf8))
            again = try session.hmacSHA256(key, of: Array("custodyctl audit init".utf8))
            other = try session.hmacSHA256(key, of: Array("custodyctl audit unit".utf8))
        } catch {
            throw CustodyError(
                .keyRefused, "the token makes no CKM_SHA256_HMAC (\(error)); without it the log is chained, but nothing vouches for it")
        }
        guard first == again, first != other else {
            throw CustodyError(.keyRefused, "the token's CKM_SHA256_HMAC is none: equal messages must give equal results, and others different ones")
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
