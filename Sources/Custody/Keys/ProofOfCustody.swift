import PKCS11

/// The proof that a key cannot leave the token: its attributes as the token reports them, and a trial to wrap it out.
///
/// Attributes alone prove nothing: NSS reports the right ones and exports the key all the same.
public enum ProofOfCustody {
    /// What the trial to wrap the key out showed.
    public enum Trial: Sendable, Hashable {
        /// The token refused, for every mechanism that it could be tried with.
        case refusedByToken([Mechanism])
        /// The token cannot wrap keys at all.
        case cannotWrap
        /// The token handed the key out.
        case exported(Mechanism)
        /// The trial could not be made.
        case inconclusive(String)

        /// What the trial says against the key, if anything.
        ///
        /// - Parameter isExtractable: What CKA_EXTRACTABLE says.
        func objections(isExtractable: Bool?) -> [String] {
            switch self {
            case .refusedByToken, .cannotWrap: []
            case .exported(let mechanism):
                ["the token handed it out by C_WrapKey with \(mechanism)"
                    + (isExtractable == false ? ", whatever its attributes say" : "")]
            case .inconclusive(let why): ["it could not be proved that the token keeps it: \(why)"]
            }
        }
    }

    /// The attributes of a key object that say what it is and who may do what with it.
    public static let attributeTypes: [AttributeType] = [
        .label, .id, .keyType, .valueLength, .token, .isPrivate, .sensitive, .alwaysSensitive, .extractable,
        .neverExtractable, .local, .encrypt, .decrypt, .wrap, .unwrap, .sign, .derive, .startDate, .endDate,
    ]

    private static let mechanisms: [Mechanism] = [.aesKeyWrap, .aesKeyWrapPad, .aesKeyWrapKWP, .aesCBCPad, .aesECB]

    /// What the attributes say against the key; empty if nothing does.
    ///
    /// - Parameter ofSessionKey: For a throw-away key that shows what the token guarantees; a root key is on the token.
    public static func objections(_ attributes: AttributeSet, ofSessionKey: Bool = false) -> [String] {
        var objections: [String] = []
        func require(_ type: AttributeType, _ wanted: Bool, _ meaning: String) {
            switch attributes.bool(type) {
            case wanted: break
            case .some(let value): objections.append("\(type) is \(value): \(meaning)")
            case nil: objections.append("the token does not report \(type)")
            }
        }
        require(.extractable, false, "the token would hand the key out")
        require(.neverExtractable, true, "the key was extractable once, or was imported")
        require(.sensitive, true, "the token would show the key's value")
        require(.alwaysSensitive, true, "the key's value could be read once, or was imported")
        require(.isPrivate, true, "the key could be used without a login")
        require(.wrap, false, "a root key must not wrap other keys")
        require(.unwrap, false, "a root key must not unwrap other keys")
        require(.derive, false, "a root key must not derive other keys")
        if !ofSessionKey, attributes.bool(.token) == false { objections.append("it is a session object") }
        // NSS reports no length for a sensitive key; whoever reports one reports 32.
        if let length = attributes.number(.valueLength), length != 32 {
            objections.append("it is an AES-\(length * 8) key, root keys are AES-256")
        }
        return objections
    }

    /// Tries to wrap the key out under a throw-away session key with every mechanism that the token may know.
    public static func tryToExport(_ key: ObjectHandle, _ session: borrowing Session) -> Trial {
        do {
            return try trial(of: key, session)
        } catch {
            return .inconclusive("\(error)")
        }
    }

    /// The same.
    ///
    /// - Throws: ``PKCS11Error`` that says nothing of the key: the token, the session or the login is gone.
    static func trial(of key: ObjectHandle, _ session: borrowing Session) throws(PKCS11Error) -> Trial {
        let throwAway: ObjectHandle
        do {
            throwAway = try session.generateKey(.aesKeyGeneration, [
                .objectClass(.secretKey), .keyType(.aes), .valueLength(32), .bool(.token, false), .bool(.isPrivate, true),
                .bool(.sensitive, true), .bool(.extractable, false), .bool(.wrap, true), .bool(.encrypt, true),
                .bool(.decrypt, false), .bool(.unwrap, false),
            ])
        } catch {
            switch Fault(error) {
            case .unsupported, .objectForbidden, .objectGone, .data: break
            // It says nothing of the key: a token that can't make one now is out of order.
            case .ambiguous, .session, .pin, .connection: throw error
            }
            return .inconclusive("no session key to try it with: \(error)")
        }
        var refused: [Mechanism] = []
        var unclear: String?
        var exported: Mechanism?
        for mechanism in mechanisms where exported == nil {
            do {
                var wrapped = try session.wrapKey(key, under: throwAway, mechanism)
                for index in wrapped.indices { wrapped[index] = 0 }
                exported = mechanism
            } catch {
                if saysNothing(error) { throw error }
                switch error.returnValue {
                case .keyUnextractable?, .keyNotWrappable?: refused.append(mechanism)
                case .mechanismInvalid?, .functionNotSupported?: break
                default: unclear = unclear ?? "\(mechanism): \(error)"
                }
            }
        }
        // If the throw-away key cannot be destroyed it goes with its session.
        try? session.destroyObject(throwAway)
        if let exported { return .exported(exported) }
        if let unclear { return .inconclusive(unclear) }
        return refused.isEmpty ? .cannotWrap : .refusedByToken(refused)
    }

    /// Codes that some tokens have for a mechanism which they don't know are not among these: they must not keep a daemon from
    /// the keys that it can prove.
    private static func saysNothing(_ error: PKCS11Error) -> Bool {
        switch error.returnValue {
        case .deviceError?, .deviceRemoved?, .tokenNotPresent?, .tokenNotRecognized?, .sessionHandleInvalid?, .sessionClosed?,
            .userNotLoggedIn?, .cryptokiNotInitialized?:
            true
        default: Fault(error) == .pin
        }
    }
}
