import PKCS11

/// The trials that were made through one connection: one for each object, which a handle names together with its CKA_ID.
///
/// An inconclusive one is not kept: it is made again at the next look.
struct TrialMemory {
    private struct Subject: Hashable {
        let object: ObjectHandle
        let id: KeyID
    }

    private var earlier: [Subject: ProofOfCustody.Trial] = [:]
    private var seen: [Subject: ProofOfCustody.Trial] = [:]
    private var keys = TrialKeys()

    /// The trial of an object, made now if there was none yet.
    mutating func trial(of object: ObjectHandle, _ id: KeyID, _ session: borrowing Session) throws(PKCS11Error) -> ProofOfCustody.Trial {
        let subject = Subject(object: object, id: id)
        let trial: ProofOfCustody.Trial
        if let known = earlier[subject] ?? seen[subject] {
            trial = known
        } else {
            trial = try ProofOfCustody.trial(of: object, &keys, session)
        }
        if case .inconclusive = trial.verdict {} else { seen[subject] = trial }
        return trial
    }

    /// Ends a look: forgets what was not seen in it, and destroys the throw-away keys.
    mutating func endLook(_ session: borrowing Session) {
        keys.destroy(session)
        earlier = seen
        seen = [:]
    }
}
