import Custody
import PKCS11
import SecureMemory

/// What the token can do and what it guarantees, found out by trying: tokens list mechanisms that they then refuse.
struct TokenTrials {
    let module: Module
    let slot: SlotID

    private static let nonce: [UInt8] = Array(repeating: 7, count: 12)
    private static let context: [UInt8] = Array("custodyctl doctor".utf8)

    func run(_ session: borrowing Session, _ report: inout DoctorReport) {
        random(session, &report)
        mechanismList(&report)
        let key: ObjectHandle
        do {
            // The root key's own template but for CKA_TOKEN: what the token guarantees for this it guarantees for that.
            let id = KeyID(newFor: 1)
            key = try session.generateKey(.aesKeyGeneration, KeyProvisioner.template(name: "custodyctl-doctor", id: id, onToken: false))
            report.add("key-generation", .ok, "CKM_AES_KEY_GEN makes an AES-256 session key with a root key's template")
        } catch {
            report.add("key-generation", .fail, "the token makes no AES-256 session key with a root key's template: \(error)")
            return
        }
        attributes(key, session, &report)
        exportTrial(key, session, &report)
        gcm(key, session, &report)
        // What can't be destroyed goes with the session.
        try? session.destroyObject(key)
        keyWrap(session, &report)
    }

    private func random(_ session: borrowing Session, _ report: inout DoctorReport) {
        do {
            let (first, second) = (try session.random(count: 32), try session.random(count: 32))
            if first == second || Set(first).count == 1 {
                report.add("random", .fail, "C_GenerateRandom gives the same bytes again and again")
            } else {
                report.add("random", .ok, "C_GenerateRandom answers, two answers differ")
            }
        } catch {
            report.add("random", .warn, "no random bytes from the token, data keys need them: \(error)")
        }
    }

    private func mechanismList(_ report: inout DoctorReport) {
        do {
            let listed = try module.mechanisms(slot)
            let missing = [Mechanism.aesKeyGeneration, .aesGCM].filter { !listed.contains($0) }
            if missing.isEmpty {
                report.add("mechanism-list", .ok, "\(listed.count) mechanisms, CKM_AES_KEY_GEN and CKM_AES_GCM among them")
            } else {
                report.add("mechanism-list", .warn, "the token does not list \(missing.map(\.description).joined(separator: ", ")); the trials below count")
            }
        } catch {
            report.add("mechanism-list", .warn, "no list of mechanisms: \(error)")
        }
    }

    private func attributes(_ key: ObjectHandle, _ session: borrowing Session, _ report: inout DoctorReport) {
        do {
            let objections = ProofOfCustody.objections(
                try session.attributes(of: key, KeyInspection.attributeTypes), ofSessionKey: true)
            if objections.isEmpty {
                report.add("attributes", .ok, "read back: sensitive always, extractable never, not for wrapping")
            } else {
                report.add("attributes", .fail, "a root key made here would be refused: " + objections.joined(separator: "; "))
            }
        } catch {
            report.add("attributes", .fail, "the attributes of a new key can't be read back: \(error)")
        }
    }

    private func exportTrial(_ key: ObjectHandle, _ session: borrowing Session, _ report: inout DoctorReport) {
        let start = ContinuousClock.now
        let trial = ProofOfCustody.tryToExport(key, session)
        let time = "\(Int(start.duration(to: .now) / .milliseconds(1))) ms"
        let refused = trial.refused.map(\.description).joined(separator: ", ")
        switch trial.verdict {
        case .refused:
            report.add("export", .ok, "the token hands no non-extractable key out; it refused within \(time): \(refused)")
        case .cannotWrap:
            report.add("export", .warn, "\(trial.warning ?? ""); it refused within \(time): \(refused.isEmpty ? "nothing else could be tried" : refused)")
        case .notProved:
            report.add(
                "export", .warn, "whether the token keeps keys is \(trial.warning ?? "not proved")" + (refused.isEmpty ? "" : "; it refused: \(refused)"))
        case .handedOut(let way):
            report.add("export", .fail, "the token hands out a key with CKA_EXTRACTABLE false by \(way): its attributes prove nothing, keep no root key on it")
        case .inconclusive(let why):
            report.add("export", .fail, "whether the token hands keys out could not be found out: \(why)")
        }
        let notPossible = trial.notPossible.map { "\($0.way) (\($0.reason))" }
        if !notPossible.isEmpty { report.add("export-tried", .ok, "not possible, which proves nothing: \(notPossible.joined(separator: ", "))") }
    }

    private func gcm(_ key: ObjectHandle, _ session: borrowing Session, _ report: inout DoctorReport) {
        let plaintext = [UInt8](repeating: 0x5A, count: 184)
        var sealed: [UInt8] = []
        do {
            try session.encryptGCM(
                key, nonce: Self.nonce.span.bytes, aad: Self.context.span.bytes, plaintext: plaintext.span.bytes, appendingTo: &sealed)
            let opened = try session.decryptGCM(
                key, nonce: Self.nonce.span.bytes, aad: Self.context.span.bytes, ciphertext: sealed.span.bytes)
            guard sealed.count == plaintext.count + Session.gcmTagLength, opened == plaintext else {
                return report.add("aes-gcm", .fail, "CKM_AES_GCM answers but does not give back what went in (\(sealed.count) bytes for \(plaintext.count))")
            }
            report.add("aes-gcm", .ok, "CKM_AES_GCM encrypts and decrypts with a 96-bit nonce, a context and a 128-bit tag")
        } catch {
            return report.add("aes-gcm", .fail, "CKM_AES_GCM does not work, Custody needs it: \(error)")
        }
        wrongTag(key, sealed, plaintext, session, &report)
    }

    private func wrongTag(
        _ key: ObjectHandle, _ sealed: [UInt8], _ plaintext: [UInt8], _ session: borrowing Session, _ report: inout DoctorReport
    ) {
        var broken = sealed
        broken[broken.count - 1] ^= 1
        do {
            _ = try session.decryptGCM(key, nonce: Self.nonce.span.bytes, aad: Self.context.span.bytes, ciphertext: broken.span.bytes)
            return report.add("wrong-tag", .fail, "the token opens a ciphertext with a wrong tag: it does not authenticate")
        } catch {
            let name = error.returnValue?.name ?? "\(error)"
            switch WrongTagReading(error) {
            case .badData: report.add("wrong-tag", .ok, "refused with \(name), which says so without doubt")
            case .canaryDecides:
                report.add("wrong-tag", .ok, "refused with \(name), which may also mean a broken token: the daemon tells them apart by a canary operation")
            case .brokenToken:
                report.add("wrong-tag", .warn, "refused with \(name): the daemon takes that for a lost session or token, so a caller's bad blob costs a new connection")
            }
        }
        let after = try? session.decryptGCM(key, nonce: Self.nonce.span.bytes, aad: Self.context.span.bytes, ciphertext: sealed.span.bytes)
        if after != plaintext { report.add("wrong-tag", .warn, "after a wrong tag the session is of no use any more") }
    }

    /// The counter-test of the trial to export: that a key may leave which is extractable shows that the refusals above
    /// come from the attribute and not from a missing mechanism.
    private func keyWrap(_ session: borrowing Session, _ report: inout DoctorReport) {
        func key(wraps: Bool) throws(PKCS11Error) -> ObjectHandle {
            try session.generateKey(.aesKeyGeneration, [
                .objectClass(.secretKey), .keyType(.aes), .valueLength(32), .bool(.token, false), .bool(.isPrivate, true),
                .bool(.sensitive, true), .bool(.extractable, !wraps), .bool(.wrap, wraps), .bool(.unwrap, wraps),
                .bool(.encrypt, !wraps), .bool(.decrypt, !wraps),
            ])
        }
        do {
            let (wrapping, extractable) = (try key(wraps: true), try key(wraps: false))
            defer {
                try? session.destroyObject(wrapping)
                try? session.destroyObject(extractable)
            }
            try session.wrapKey(extractable, under: wrapping, .aesKeyWrap)
            report.add("aes-key-wrap", .ok, "CKM_AES_KEY_WRAP wraps an extractable key, so the refusal above is the attribute's doing")
        } catch {
            report.add("aes-key-wrap", .ok, "not available (\(error.returnValue?.name ?? "\(error)")), and not needed")
        }
    }
}
