import PKCS11

/// The life of a version after it was made.
extension KeyProvisioner {
    /// Changes the state of a version and reads it back.
    ///
    /// - Returns: The version as the token shows it afterwards; nil if it was there already and nothing was written.
    /// - Throws: ``CustodyError`` with `keyNotUsable` if its state does not allow the change, `keyRefused` if the token does
    ///   not let the attributes be changed.
    public static func change(
        _ key: KeyObject, _ transition: KeyTransition, _ session: borrowing Session
    ) throws(CustodyError) -> KeyObject? {
        let steps = try transition.steps(from: key)
        if steps.isEmpty { return nil }
        for step in steps {
            do throws(PKCS11Error) {
                try write(step, key, session)
            } catch {
                throw refusal(key, error, session)
            }
        }
        let now = try reaching("read \(key.title)") { () throws(PKCS11Error) in try KeyObject(key.object, session) }
        guard transition.isReached(by: now) else {
            throw CustodyError(
                .keyRefused, "the token said that \(key.title) was changed, but shows it otherwise: it is \(now.state.phrase)")
        }
        return now
    }

    static func write(_ step: KeyTransition.Step, _ key: KeyObject, _ session: borrowing Session) throws(PKCS11Error) {
        switch step {
        case .uses(let attributes): try session.setAttributes(of: key.object, attributes)
        case .endDate(let day): try KeyDates.set(.endDate, day, of: key, session)
        }
    }

    /// Whether a change can be made at all; throws what ``change(_:_:_:)`` would.
    public static func check(_ key: KeyObject, _ transition: KeyTransition) throws(CustodyError) {
        _ = try transition.steps(from: key)
    }

    /// Removes one version for ever: what was wrapped under it never opens again.
    ///
    /// - Throws: ``CustodyError``; also if the token still shows the object afterwards.
    public static func destroy(_ key: KeyObject, _ session: borrowing Session) throws(CustodyError) {
        do throws(PKCS11Error) {
            try session.destroyObject(key.object)
        } catch {
            throw failed("destroy \(key.title)", error)
        }
        let remaining = try reaching("look for \(key.title)") { () throws(PKCS11Error) in
            try session.objects(.secretKey, matching: [.id(key.idBytes)])
        }
        guard !remaining.contains(key.object) else {
            throw CustodyError(.internalError, "the token said that \(key.title) was destroyed but still shows it")
        }
        // Another object of the CKA_ID, whatever its name, may be the version that the notes are about.
        if remaining.isEmpty { KeyDates.forget(id: key.idBytes, session) }
    }

    /// Removes a public object, which anybody can make without the PIN and which is no version. It is read again just before: a
    /// private one is never removed.
    public static func removePublic(_ key: KeyObject, _ session: borrowing Session) throws(CustodyError) {
        guard let now = try readAgain(key, session), now.isPublic else {
            throw CustodyError(.keyNotUsable, "the public object of \(key.title) is gone or another meanwhile; nothing was done")
        }
        try destroy(now, session)
    }

    /// Destroys a version if it is still there, still scheduled, its day is over, and it has waited: it is read again before.
    public static func destroyIfDue(
        _ key: KeyObject, today: UTCDay, _ waited: WaitingRecord, _ session: borrowing Session
    ) throws(CustodyError) -> Bool {
        guard let now = try readAgain(key, session), now.isDue(today), waited.objection(to: now) == nil else { return false }
        try destroy(now, session)
        return true
    }

    /// Throws if one of them is no longer what somebody was shown and has confirmed.
    public static func checkUnchanged(_ keys: [KeyObject], _ session: borrowing Session) throws(CustodyError) {
        for key in keys {
            let now = try readAgain(key, session)
            guard now?.state == key.state else {
                throw CustodyError(
                    .keyNotUsable,
                    "\(key.title) was \(key.state.phrase) and has changed meanwhile, it is \(now?.state.phrase ?? "gone"); nothing was done")
            }
        }
    }

    /// The object as it is now; nil if it is gone or another.
    private static func readAgain(_ key: KeyObject, _ session: borrowing Session) throws(CustodyError) -> KeyObject? {
        do throws(PKCS11Error) {
            let now = try KeyObject(key.object, session)
            return now.idBytes == key.idBytes && now.name == key.name && now.isPublic == key.isPublic ? now : nil
        } catch where error.returnValue == .objectHandleInvalid {
            return nil
        } catch {
            throw failed("read \(key.title)", error)
        }
    }

    /// What C_SetAttributeValue says when it is the attribute that it does not want changed (or the object: 0x1B is
    /// CKR_ACTION_PROHIBITED), and not the session or the token that is at fault.
    private static let refusals: Set<ReturnValue> = [
        .attributeReadOnly, .attributeTypeInvalid, .attributeValueInvalid, .attributeSensitive, .templateInconsistent,
        .functionNotSupported, ReturnValue(rawValue: 0x1B),
    ]

    private static func refusal(_ key: KeyObject, _ error: PKCS11Error, _ session: borrowing Session) -> CustodyError {
        let now = (try? KeyObject(key.object, session)).map { "; it is \($0.state.phrase) now" } ?? ""
        guard let value = error.returnValue, refusals.contains(value) else {
            var failure = failed("change \(key.title)", error)
            failure.message += now
            return failure
        }
        return CustodyError(
            .keyRefused, "the token does not let the attributes of \(key.title) be changed, use the vendor's own tool: \(error)\(now)")
    }
}
