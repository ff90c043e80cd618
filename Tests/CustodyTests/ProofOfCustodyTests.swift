import PKCS11
import TestSupport
import Testing

@testable import Custody

/// What a thief with the PIN tries, and which answers prove what.
@Suite struct ProofOfCustodyTests {
    private typealias Trial = ProofOfCustody.Trial

    /// Lends the fault module over SoftHSM, with a root key.
    private func withKey(_ body: (FaultModule, borrowing Session, ObjectHandle) throws -> Void) async throws {
        try await SoftHSM.withToken { token in
            let faults = try FaultModule.forThisProcess()
            try SoftHSMToken.withModule(faults.modulePath) { module in
                defer { faults.clear() }
                let session = try module.openSession(try module.token(matching: token.uri).slot, readWrite: true)
                try session.login(.user, pin: SoftHSMToken.secret(SoftHSMToken.userPIN))
                let key = try RootKeyTemplate(id: KeyID(newFor: 1).bytes).generate(session)
                try body(faults, session, key)
                faults.clear()
                // Nothing that was made or came out stays behind, and the key itself does.
                #expect(try session.objects(.secretKey) == [key])
                #expect(try session.objects(.privateKey).isEmpty && session.objects(.publicKey).isEmpty)
            }
        }
    }

    @Test func everyWayIsTriedAndRefused() async throws {
        try await withKey { _, session, key in
            let trial = ProofOfCustody.tryToExport(key, session)
            #expect(trial.verdict == .refused)
            #expect(trial.warning == nil && trial.isProof)
            let refused = Set(trial.refused)
            for way in [
                Trial.Way.value, .copy(.extractable), .copy(.readable), .copy(.withoutLogin), .wrap(.aesKeyWrap), .wrap(.aesKeyWrapPad),
                .wrap(.rsaPKCS), .wrap(.rsaOAEP),
            ] { #expect(refused.contains(way), "\(way): \(trial.attempts)") }
            // SoftHSM lists these, too; how it answers differs from version to version.
            let tried = Set(trial.attempts.map(\.way))
            for mechanism in [Mechanism.aesCBC, .aesCBCPad, .aesECB, .aesGCM, .des3CBC, .desECB, .rsaX509] {
                #expect(tried.contains(.wrap(mechanism)), "\(trial.attempts)")
            }
            #expect(trial.attempts.allSatisfy { if case .unclear = $0.answer { false } else { true } })
        }
    }

    /// Each way by which a token may hand a key out although its attributes are right.
    @Test(arguments: [
        (Function.getAttributeValue, nil, "C_GetAttributeValue of CKA_VALUE"),
        (.copyObject, nil, "C_CopyObject with CKA_EXTRACTABLE true"),
        (.wrapKey, Mechanism.aesKeyWrap, "C_WrapKey with CKM_AES_KEY_WRAP"), (.wrapKey, .aesCBC, "C_WrapKey with CKM_AES_CBC"),
        (.wrapKey, .aesCBCPad, "C_WrapKey with CKM_AES_CBC_PAD"), (.wrapKey, .aesECB, "C_WrapKey with CKM_AES_ECB"),
        (.wrapKey, .aesGCM, "C_WrapKey with CKM_AES_GCM"), (.wrapKey, .des3CBC, "C_WrapKey with CKM_DES3_CBC"),
        (.wrapKey, .rsaPKCS, "C_WrapKey with CKM_RSA_PKCS"), (.wrapKey, .rsaOAEP, "C_WrapKey with CKM_RSA_PKCS_OAEP"),
    ] as [(Function, Mechanism?, String)])
    func aTokenThatHandsTheKeyOutIsFoundOut(_ function: Function, _ mechanism: Mechanism?, _ way: String) async throws {
        try await withKey { faults, session, key in
            faults.arm(.handsOut(with: mechanism), on: function)
            let trial = ProofOfCustody.tryToExport(key, session)
            #expect(!trial.isProof)
            guard case .handedOut(let found) = trial.verdict else {
                Issue.record("\(trial)")
                return
            }
            #expect(found.description == way)
            // The daemon does not use it, and says why.
            let catalog = KeyCatalog()
            try catalog.refresh(session)
            let error = try expectError(.keyRefused) { () throws(CustodyError) in try catalog.ring.wrappingVersion(of: "root") }
            #expect(error.message.contains(way) && error.message.contains("whatever its attributes say"), "\(error.message)")
        }
    }

    /// A copy that is as strong as the key is no weaker object, and is destroyed at once.
    @Test func anEqualCopyIsDestroyed() async throws {
        try await withKey { faults, session, key in
            let equal = try session.copyObject(key, [.bool(.token, false)])
            #expect(equal != key)
            try session.destroyObject(equal)
            // One that can't be destroyed leaves a doubt.
            faults.arm(.handsOut(), on: .copyObject)
            faults.arm(.returns(.actionProhibited), on: .destroyObject, times: 1)
            let trial = ProofOfCustody.tryToExport(key, session)
            guard case .inconclusive(let why) = trial.verdict else {
                Issue.record("\(trial)")
                return
            }
            #expect(why.contains("CKR_ACTION_PROHIBITED"), "\(why)")
            faults.clear()
            for object in try session.objects(.secretKey) where object != key { try session.destroyObject(object) }
        }
    }

    /// Nothing could be tried although the token says that it wraps keys: the key is used, and called proven nowhere.
    @Test(arguments: [ReturnValue.mechanismInvalid, .functionNotSupported])
    func whatCanNotBeTriedIsNotProved(_ value: ReturnValue) async throws {
        try await withKey { faults, session, key in
            faults.arm(.returns(value), on: .wrapKey)
            let trial = ProofOfCustody.tryToExport(key, session)
            #expect(!trial.isProof)
            #expect(trial.refusedMechanisms.isEmpty)
            let warning = try #require(trial.warning)
            #expect(warning.hasPrefix("not proved: ") && warning.contains("CKM_RSA_PKCS"), "\(warning)")
            let catalog = KeyCatalog()
            try catalog.refresh(session)
            #expect(try catalog.ring.wrappingVersion(of: "root").warning == warning)
        }
    }

    /// Codes that may mean anything: what a key that may leave meets with decides.
    @Test func ambiguousCodesAreNoProof() async throws {
        try await withKey { faults, session, key in
            // With every mechanism, whatever the key.
            faults.arm(.returns(.functionFailed), on: .wrapKey)
            guard case .inconclusive = ProofOfCustody.tryToExport(key, session).verdict else {
                Issue.record("a token that fails refuses nothing")
                return
            }
            faults.clear()
            // For the key alone.
            faults.arm(.returns(.generalError), on: .wrapKey, times: 1)
            guard case .inconclusive(let why) = ProofOfCustody.tryToExport(key, session).verdict else {
                Issue.record("it failed once, and not with a key that may leave")
                return
            }
            #expect(why.contains("CKM_AES_KEY_WRAP") && why.contains("CKR_GENERAL_ERROR"), "\(why)")
            faults.clear()
            #expect(ProofOfCustody.tryToExport(key, session).verdict == .refused)
        }
    }

    /// Where the token takes no public key from outside, it makes a pair.
    @Test func aPairIsMadeWhereNoneCanBeBrought() async throws {
        try await withKey { faults, session, key in
            faults.arm(.returns(.templateInconsistent), on: .createObject)
            let trial = ProofOfCustody.tryToExport(key, session)
            #expect(trial.refusedMechanisms.contains(.rsaPKCS), "\(trial)")
            faults.arm(.returns(.functionNotSupported), on: .generateKeyPair)
            let without = ProofOfCustody.tryToExport(key, session)
            #expect(without.verdict == .refused)
            #expect(without.notPossible.contains { $0.way == .wrap(.rsaPKCS) && $0.reason.contains("CKR_FUNCTION_NOT_SUPPORTED") }, "\(without)")
        }
    }

    /// A trial is made once for an object, and throw-away keys once for all of a look.
    @Test func aTrialIsMadeOnceForAnObject() async throws {
        try await withKey { faults, session, key in
            let second = try RootKeyTemplate("second", id: KeyID(newFor: 1).bytes).generate(session)
            let made = faults.calls(of: .createObject)
            let catalog = KeyCatalog()
            try catalog.refresh(session)
            #expect(catalog.ring.keys.map(\.name) == ["root", "second"])
            #expect(faults.calls(of: .createObject) == made + 1)
            let wraps = faults.calls(of: .wrapKey)
            try catalog.refresh(session)
            #expect(faults.calls(of: .wrapKey) == wraps)
            #expect(faults.calls(of: .createObject) == made + 1)
            try session.destroyObject(second)
        }
    }

    @Test func anImportedKeyIsNotMadeHere() async throws {
        try await withKey { _, session, key in
            let imported = try RootKeyTemplate("imported", id: KeyID(newFor: 1).bytes).importing([UInt8](repeating: 7, count: 32), session)
            let objections = ProofOfCustody.objections(try session.attributes(of: imported, ProofOfCustody.attributeTypes))
            #expect(objections.contains { $0.contains("CKA_LOCAL is false") })
            #expect(objections.contains { $0.contains("CKA_KEY_GEN_MECHANISM") })
            try session.destroyObject(imported)
        }
    }
}
