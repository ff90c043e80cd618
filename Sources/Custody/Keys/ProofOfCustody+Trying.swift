import PKCS11

/// The trial itself: what a thief does who has the PIN.
extension ProofOfCustody {
    /// Tries to read the key, to copy it to a weaker object, and to wrap it out with everything that the token may know. Whatever
    /// comes out is zeroed or destroyed at once, and ends the trial.
    ///
    /// - Throws: ``PKCS11Error`` that says nothing of the key: the token, the session or the login is gone.
    static func trial(of key: ObjectHandle, _ keys: inout TrialKeys, _ session: borrowing Session) throws(PKCS11Error) -> Trial {
        var attempts: [Trial.Attempt] = []
        /// Whether the trial goes on after this one.
        func note(_ way: Trial.Way, _ answer: Trial.Answer) -> Bool {
            attempts.append(Trial.Attempt(way: way, answer: answer))
            switch answer {
            case .refused, .notPossible: return true
            case .unclear, .handedOut: return false
            }
        }
        func ended() -> Trial {
            guard let last = attempts.last else { return Trial(attempts: [], verdict: .inconclusive("nothing was tried")) }
            if case .unclear(let why) = last.answer { return Trial(attempts: attempts, verdict: .inconclusive("\(last.way): \(why)")) }
            return Trial(attempts: attempts, verdict: .handedOut(last.way))
        }

        guard note(.value, try readValue(of: key, session)) else { return ended() }
        for weakness in Trial.Weakness.allCases {
            guard note(.copy(weakness), try copy(key, weakness, session)) else { return ended() }
        }
        if case .failure(let error) = try keys.wrappingKey(.aes, session) {
            switch Fault(error) {
            case .unsupported, .objectForbidden, .objectGone, .data: break
            // It says nothing of the key: a token that can't make one now is out of order.
            case .ambiguous, .session, .pin, .connection: throw error
            }
            return Trial(attempts: attempts, verdict: .inconclusive("no session key to try it with: \(error)"))
        }
        let listed = try keys.listed(session)
        var doubt: String?
        for mechanism in WrappingMechanism.toTry(listed: listed) {
            let (answer, isDoubtful) = try wrap(key, mechanism, &keys, session)
            guard note(.wrap(mechanism.mechanism), answer) else { return ended() }
            if isDoubtful, case .notPossible(let why) = answer { doubt = doubt ?? "\(mechanism.mechanism): \(why)" }
        }
        for mechanism in WrappingMechanism.unknown(listed: listed) {
            _ = note(.wrap(mechanism), .notPossible("Custody does not know its parameters"))
        }
        return Trial(attempts: attempts, verdict: verdict(attempts, listed, doubt, isRelayed: try keys.isRelayed(session)))
    }

    /// What follows from a trial in which nothing came out.
    ///
    /// - Parameter doubt: A mechanism with which every key fails, for whatever reason.
    private static func verdict(
        _ attempts: [Trial.Attempt], _ listed: [Mechanism: Bool]?, _ doubt: String?, isRelayed: Bool
    ) -> Trial.Verdict {
        let wraps = attempts.filter { if case .wrap = $0.way { true } else { false } }
        let isRefused = wraps.contains { if case .refused = $0.answer { true } else { false } }
        if !isRefused, let doubt { return .inconclusive(doubt) }
        if isRelayed {
            return .notProved(
                "p11-kit passes calls on and leaves out the mechanisms that it does not know, so that they could not be tried; `custodyctl doctor` with the token's own module tries them")
        }
        if isRefused { return .refused }
        guard let listed else { return .notProved("the token gives no list of its mechanisms, and with none that was tried does it wrap keys") }
        let wrapping = listed.filter(\.value).map(\.key).sorted { $0.rawValue < $1.rawValue }
        guard !wrapping.isEmpty else { return .cannotWrap }
        return .notProved(
            "the token says that it wraps keys with \(wrapping.map(\.description).joined(separator: ", ")), and with none of them could that be tried")
    }

    // MARK: Ways

    private static func readValue(of key: ObjectHandle, _ session: borrowing Session) throws(PKCS11Error) -> Trial.Answer {
        do throws(PKCS11Error) {
            return try session.showsValue(of: key) ? .handedOut : .refused("it shows no bytes")
        } catch {
            if saysNothing(error) { throw error }
            switch error.returnValue {
            case .attributeSensitive?, .attributeTypeInvalid?, .keyUnextractable?, .actionProhibited?, .functionRejected?:
                return .refused(name(error))
            default: return .notPossible(name(error))
            }
        }
    }

    /// To a session object, which goes with the session whatever happens; never to one on the token.
    private static func copy(
        _ key: ObjectHandle, _ weakness: Trial.Weakness, _ session: borrowing Session
    ) throws(PKCS11Error) -> Trial.Answer {
        let copy: ObjectHandle
        do throws(PKCS11Error) {
            copy = try session.copyObject(key, [.bool(.token, false), .bool(weakness.type, weakness.value)])
        } catch {
            if saysNothing(error) { throw error }
            switch error.returnValue {
            case .attributeReadOnly?, .attributeValueInvalid?, .attributeTypeInvalid?, .attributeSensitive?, .templateInconsistent?,
                .keyUnextractable?, .actionProhibited?, .functionRejected?:
                return .refused(name(error))
            default: return .notPossible(name(error))
            }
        }
        let attributes = Result { () throws(PKCS11Error) in try session.attributes(of: copy, [.extractable, .sensitive, .isPrivate]) }
        // NSS gives the key itself back as its copy: to destroy that one would destroy the key.
        if copy != key {
            do throws(PKCS11Error) {
                try session.destroyObject(copy)
            } catch {
                if saysNothing(error) { throw error }
                return .unclear("the token made a copy, which it does not destroy (\(name(error)))")
            }
        }
        let read = try attributes.get()
        let isAsStrong = read.bool(.extractable) == false && read.bool(.sensitive) == true && read.bool(.isPrivate) == true
        return isAsStrong ? .refused(copy == key ? "it gave the key itself, unchanged" : "the copy was as strong as the key") : .handedOut
    }

    /// - Returns: The answer, and whether a mechanism that is not possible may be so only now.
    private static func wrap(
        _ key: ObjectHandle, _ mechanism: WrappingMechanism, _ keys: inout TrialKeys, _ session: borrowing Session
    ) throws(PKCS11Error) -> (Trial.Answer, isDoubtful: Bool) {
        let wrappingKey: ObjectHandle
        switch try keys.wrappingKey(mechanism.kind, session) {
        case .success(let made): wrappingKey = made
        case .failure(let error): return (.notPossible("the token makes no key of its kind (\(name(error)))"), false)
        }
        var last = (Trial.Answer.notPossible("nothing was tried"), isDoubtful: false)
        for parameters in mechanism.parameters {
            do throws(PKCS11Error) {
                try session.wrapKey(key, under: wrappingKey, mechanism.mechanism, parameters)
                return (.handedOut, false)
            } catch {
                if saysNothing(error) { throw error }
                switch error.returnValue {
                case .keyUnextractable?, .keyNotWrappable?: return (.refused(name(error)), false)
                case .mechanismInvalid?, .functionNotSupported?: last = (.notPossible(name(error)), false)
                default:
                    // The code alone does not tell. A key that may leave does: if the token wraps that one in the same way, it
                    // is this key that it has something against, and nobody knows what.
                    guard case .failure(let other) = try keys.counterTest(wrappingKey, mechanism.mechanism, parameters, session) else {
                        return (.unclear("\(error)"), false)
                    }
                    last = (.notPossible(name(error)), !(isAboutTheWay(error) && isAboutTheWay(other)))
                }
            }
        }
        return last
    }

    /// Whether the code says that it is not done in this way, whatever the key.
    private static func isAboutTheWay(_ error: PKCS11Error) -> Bool {
        switch error.returnValue {
        case .mechanismInvalid?, .functionNotSupported?, .mechanismParameterInvalid?, .argumentsBad?, .keySizeRange?,
            .keyTypeInconsistent?, .wrappingKeySizeRange?, .wrappingKeyTypeInconsistent?, .keyNotWrappable?, .keyFunctionNotPermitted?:
            true
        default: false
        }
    }

    private static func name(_ error: PKCS11Error) -> String { error.returnValue?.name ?? "\(error)" }
}
