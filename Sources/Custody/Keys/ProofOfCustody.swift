import PKCS11

/// The proof that a key cannot leave the token: its attributes as the token reports them, and a trial to take it.
///
/// Attributes alone prove nothing: NSS reports the right ones and exports the key all the same.
public enum ProofOfCustody {
    /// The attributes of a key object that say what it is and who may do what with it.
    public static let attributeTypes: [AttributeType] = [
        .label, .id, .keyType, .valueLength, .token, .isPrivate, .sensitive, .alwaysSensitive, .extractable,
        .neverExtractable, .local, .keyGenerationMechanism, .encrypt, .decrypt, .wrap, .unwrap, .sign, .derive, .startDate, .endDate,
    ]

    /// What a key is for, which decides what it must be able to do and what not.
    enum Purpose {
        case rootKey
        /// It authenticates checkpoints of the audit log, and does nothing else.
        case auditKey
    }

    /// What the attributes say against a root key; empty if nothing does.
    ///
    /// - Parameter ofSessionKey: For a throw-away key that shows what the token guarantees; a root key is on the token.
    public static func objections(_ attributes: AttributeSet, ofSessionKey: Bool = false) -> [String] {
        objections(attributes, .rootKey, ofSessionKey: ofSessionKey)
    }

    static func objections(_ attributes: AttributeSet, _ purpose: Purpose, ofSessionKey: Bool = false) -> [String] {
        var objections: [String] = []
        func require(_ type: AttributeType, _ wanted: Bool, _ meaning: String) {
            switch attributes.bool(type) {
            case wanted: break
            case .some(let value): objections.append("\(type) is \(value): \(meaning)")
            case nil: objections.append("the token does not report \(type)")
            }
        }
        let what = purpose == .rootKey ? "a root key" : "an audit key"
        require(.isPrivate, true, "the key could be used without a login, and anybody can have made it")
        require(.extractable, false, "the token would hand the key out")
        require(.neverExtractable, true, "the key was extractable once, or was imported")
        require(.sensitive, true, "the token would show the key's value")
        require(.alwaysSensitive, true, "the key's value could be read once, or was imported")
        // Not every token tells; one that does knows.
        if attributes.bool(.local) == false { objections.append("CKA_LOCAL is false: the key was not made on this token") }
        if attributes.isWithoutGenerationMechanism { objections.append("CKA_KEY_GEN_MECHANISM names none: the key was not made on this token") }
        require(.wrap, false, "\(what) must not wrap other keys")
        require(.unwrap, false, "\(what) must not unwrap other keys")
        require(.derive, false, "\(what) must not derive other keys")
        if purpose == .auditKey {
            require(.sign, true, "it can't authenticate")
            require(.encrypt, false, "an audit key must not encrypt")
            require(.decrypt, false, "an audit key must not decrypt")
        }
        if !ofSessionKey, attributes.bool(.token) == false { objections.append("it is a session object") }
        // NSS reports no length for a sensitive key; whoever reports one reports 32.
        if let length = attributes.number(.valueLength), length != 32 {
            objections.append(
                purpose == .rootKey ? "it is an AES-\(length * 8) key, root keys are AES-256" : "it has \(length) bytes, not 32")
        }
        return objections
    }

    /// Tries to take the key out as a thief who is logged in would, on every way that the token may have.
    public static func tryToExport(_ key: ObjectHandle, _ session: borrowing Session) -> Trial {
        var keys = TrialKeys()
        defer { keys.destroy(session) }
        do {
            return try trial(of: key, &keys, session)
        } catch {
            return Trial(attempts: [], verdict: .inconclusive("\(error)"))
        }
    }

    /// Codes that some tokens have for a mechanism which they don't know are not among these: they must not keep a daemon from
    /// the keys that it can prove.
    static func saysNothing(_ error: PKCS11Error) -> Bool {
        switch error.returnValue {
        case .deviceError?, .deviceRemoved?, .tokenNotPresent?, .tokenNotRecognized?, .sessionHandleInvalid?, .sessionClosed?,
            .userNotLoggedIn?, .cryptokiNotInitialized?:
            true
        default: Fault(error) == .pin
        }
    }
}
