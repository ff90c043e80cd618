import ByteEncoding
import Foundation
import PKCS11
import Synchronization

/// Reads the root keys off the token, holds each new one against the proof of custody, and keeps the latest ``KeyRing``.
public final class KeyCatalog: Sendable {
    private struct State {
        var ring = KeyRing.empty
        /// A trial is made once per object and connection; attributes are read at every look.
        var trials = TrialMemory()
        /// When the look that gave the ring began and ended; nil before the first.
        var lookedAt: ContinuousClock.Instant?
        var lookEnded: ContinuousClock.Instant?

        /// Whether another look for a caller's sake would come too soon: unknown keys in requests must not keep the token
        /// busy with searches, however long one takes.
        func isRecent(_ now: ContinuousClock.Instant) -> Bool {
            guard let lookedAt, let lookEnded else { return false }
            return lookEnded.duration(to: now) < max(.milliseconds(20), lookedAt.duration(to: lookEnded) * 5)
        }
    }

    private let state = Mutex(State())
    private let exceptions: Mutex<Set<KeyName>>

    /// - Parameter exceptions: Names of keys that the operator wants used although the proof fails.
    public init(exceptions: Set<KeyName> = []) { self.exceptions = Mutex(exceptions) }

    /// Counts from the next look on.
    public func setExceptions(_ names: Set<KeyName>) { exceptions.withLock { $0 = names } }

    public var ring: KeyRing { state.withLock { $0.ring } }

    /// Forgets everything, for a new connection to the token.
    func reset() { state.withLock { $0 = State() } }

    /// Looks at the token.
    ///
    /// - Parameters:
    ///   - unlessRecent: Does nothing if the latest look is so recent that another one for a caller's sake would come too soon.
    ///   - checkPresence: Asked before it is believed that keys were removed: some modules show a token that has vanished as
    ///     one without objects.
    public func refresh(
        _ session: borrowing Session, unlessRecent: Bool = false, checkPresence: () throws(PKCS11Error) -> Void = {}
    ) throws(PKCS11Error) {
        let start = ContinuousClock.now
        let (earlier, trials, isRecent) = state.withLock { state in (state.ring, state.trials, state.isRecent(start)) }
        if unlessRecent, isRecent { return }
        var newTrials = trials
        var ring = try look(session, &newTrials)
        if !ring.hasAll(of: earlier) {
            // SoftHSM does not show an object that somebody is just changing: a key is removed when it is absent twice.
            Thread.sleep(forTimeInterval: 0.02)
            newTrials = trials
            ring = try look(session, &newTrials)
            if !ring.hasAll(of: earlier) { try checkPresence() }
        }
        // To a session that lives on without the login the token shows no private object, as if all keys had been removed.
        guard try session.isUserLoggedIn() else { throw PKCS11Error(.getSessionInfo, .userNotLoggedIn) }
        let (found, proofs) = (ring, newTrials)
        state.withLock { state in
            // Two looks at once: the later one is nearer the truth.
            if let latest = state.lookedAt, latest > start { return }
            state = State(ring: found, trials: proofs, lookedAt: start, lookEnded: .now)
        }
    }

    private func look(_ session: borrowing Session, _ trials: inout TrialMemory) throws(PKCS11Error) -> KeyRing {
        defer { trials.endLook(session) }
        struct Candidate {
            let object: ObjectHandle
            let name: KeyName
            let id: KeyID
            let attributes: AttributeSet
            var isPublic: Bool { attributes.bool(.isPrivate) == false }
        }
        let dates = KeyDates(session)
        var candidates: [Candidate] = []
        var strangers: [KeyRing.Stranger] = []
        for object in try session.objects(.secretKey, matching: [.bool(.token, true), .keyType(.aes)]) {
            let attributes: AttributeSet
            do throws(PKCS11Error) {
                attributes = try dates.attributes(of: object, ProofOfCustody.attributeTypes, session)
            } catch {
                switch Fault(error) {
                case .objectGone: continue  // removed between the search and the reading
                case .connection, .session, .pin: throw error
                case .data, .ambiguous, .objectForbidden, .unsupported:
                    // One object that can't be read must not stop the others from being used.
                    strangers.append(.init(name: "", id: [], reason: "a key object whose attributes can't be read is not used: \(error)"))
                    continue
                }
            }
            let label = attributes.string(.label) ?? ""
            let idBytes = attributes.bytes(.id) ?? []
            guard let id = KeyID(idBytes), id.version > 0 else {
                strangers.append(.init(
                    name: label, id: idBytes,
                    reason: "key '\(label)' (CKA_ID \(idBytes.isEmpty ? "empty" : hexadecimal(idBytes.prefix(32)))) is refused: "
                        + "its CKA_ID is not Custody's (4 bytes of version and 12 random bytes), so it was not made by "
                        + "`custodyctl key generate`" + suffix(ProofOfCustody.objections(attributes))))
                continue
            }
            guard let name = KeyName(label: attributes.bytes(.label) ?? []) else {
                strangers.append(.init(
                    name: label, id: idBytes,
                    reason: "key '\(label)' (CKA_ID \(id)) is refused: its CKA_LABEL is no key name, so it was not made by "
                        + "`custodyctl key generate`" + suffix(ProofOfCustody.objections(attributes))))
                continue
            }
            candidates.append(Candidate(object: object, name: name, id: id, attributes: attributes))
        }

        // Anybody can make a public object without the PIN: it is no version, and keeps none from being used. Where the operator
        // wants a key used that is nothing else, there must be no private object of its name.
        let own = Set(candidates.filter { !$0.isPublic }.map(\.name))
        let exceptions = exceptions.withLock { $0 }
        let planted = candidates.filter { $0.isPublic && (own.contains($0.name) || !exceptions.contains($0.name)) }
        let originals = Dictionary(candidates.filter { !$0.isPublic }.map { ($0.id, $0) }) { first, _ in first }
        for double in planted {
            strangers.append(.init(
                name: double.name.description, id: double.id.bytes,
                reason: "key '\(double.name)' (CKA_ID \(double.id)) is not used: it is a public object"
                    + (originals[double.id].map { " with the CKA_ID of key '\($0.name)' version \($0.id.version)" } ?? " (CKA_PRIVATE is false)")
                    + ", which anybody can make without the PIN; `custodyctl key destroy \(double.name) --id \(double.id) --public` removes it, and no private key"))
        }
        let plantedObjects = Set(planted.map(\.object))
        candidates.removeAll { plantedObjects.contains($0.object) }

        var versions: [KeyVersion] = []
        for (id, same) in Dictionary(grouping: candidates, by: \.id) {
            guard same.count == 1 else {
                let names = same.map { "'\($0.name)'" }.sorted().joined(separator: ", ")
                let reason = "\(same.count) objects on the token have the CKA_ID \(id): \(names); "
                    + "none of them is used, remove the ones that do not belong there"
                // One entry per name, so that each of them answers with the reason.
                for name in Set(same.map(\.name)) {
                    versions.append(KeyVersion(name: name, id: id, state: .refused(reason: reason), object: same[0].object))
                }
                continue
            }
            let candidate = same[0]
            var objections = ProofOfCustody.objections(candidate.attributes)
            var warning: String?
            if objections.isEmpty {
                let trial = try trials.trial(of: candidate.object, id, session)
                objections = trial.objections(isExtractable: candidate.attributes.bool(.extractable))
                warning = trial.warning
            }
            versions.append(version(candidate.name, id, candidate.object, candidate.attributes, objections, warning))
        }
        return KeyRing(versions: versions, strangers: strangers)
    }

    private func version(
        _ name: KeyName, _ id: KeyID, _ object: ObjectHandle, _ attributes: AttributeSet, _ objections: [String],
        _ warning: String?
    ) -> KeyVersion {
        var exception: String?
        if !objections.isEmpty {
            let reason = "key '\(name)' version \(id.version) (CKA_ID \(id)) is refused" + suffix(objections)
            guard exceptions.withLock({ $0.contains(name) }) else {
                return KeyVersion(name: name, id: id, state: .refused(reason: reason), object: object)
            }
            exception = "used by an exception in the configuration in spite of this" + suffix(objections)
        }
        return KeyVersion(
            name: name, id: id, state: KeyVersion.State(attributes), exception: exception, warning: warning,
            created: attributes.date(.startDate), object: object)
    }

    private func suffix(_ objections: [String]) -> String {
        objections.isEmpty ? "" : ": " + objections.joined(separator: "; ")
    }
}
