import PKCS11
import SecureMemory
import TestSupport
import Testing

@testable import Custody

@Suite struct CustodianTests {
    @Test func everyOperationWorks() async throws {
        let id = KeyID(newFor: 1)
        try await SoftHSM.withToken { token in
            try await token.withVault(keys: [RootKeyTemplate(id: id.bytes)]) { vault in
                let context = try EncryptionContext(["tenant": "acme"])
                let plaintext = [UInt8](0..<184)
                let blob = try await vault.wrap(plaintext, context)
                #expect(blob.count == 184 + Envelope.overhead)
                #expect(try Envelope(blob).keyID == id)
                #expect(try await vault.unwrap(blob, context) == plaintext)
                #expect(try await vault.wrap(plaintext, context) != blob, "no nonce twice")

                guard case .wrapped(let again, let key) = try await vault.answer(.rewrap(blob: blob, context: context)) else { throw Succeeded() }
                #expect(key.id == id)
                #expect(again != blob)
                #expect(try await vault.unwrap(again, context) == plaintext)

                let status = try await vault.answer(.status)
                guard case .status(let report) = status else { throw Succeeded() }
                #expect(report.token.state.name == "ready")
                #expect(report.keys.map(\.name) == ["root"])
                #expect(report.allowed == 5)
                #expect(report.denied == 0)
                #expect(report.isAuditWritable)
                #expect(report.queueLimit == 1_024)
            }
        }
    }

    @Test func dataKeys() async throws {
        try await SoftHSM.withToken { token in
            try await token.withVault { vault in
                guard case .dataKey(let blob, let plaintext?, _) = try await vault.answer(
                    .generateDataKey(key: "root", length: 32, withPlaintext: true, context: .empty))
                else { throw Succeeded() }
                #expect(plaintext.count == 32)
                #expect(plaintext.isEqual(to: secret(try await vault.unwrap(blob))))
                guard case .dataKey(let other, nil, _) = try await vault.answer(
                    .generateDataKey(key: "root", length: 64, withPlaintext: false, context: .empty))
                else { throw Succeeded() }
                #expect(try await vault.unwrap(other).count == 64)
            }
        }
    }

    @Test func rawForm() async throws {
        try await SoftHSM.withToken { token in
            try await token.withVault { vault in
                let aad: [UInt8] = [1, 2, 3]
                guard case .encrypted(let nonce, let ciphertext, let tag, let key) = try await vault.answer(
                    .encrypt(key: "root", plaintext: secret([7, 8, 9]), aad: aad))
                else { throw Succeeded() }
                #expect(nonce.count == 12)
                #expect(ciphertext.count == 3)
                #expect(tag.count == 16)
                func raw(_ tag: [UInt8], _ aad: [UInt8]) -> Custody.Operation {
                    .decrypt(RawCiphertext(keyID: key.id.bytes, nonce: nonce, ciphertext: ciphertext, tag: tag, aad: aad))
                }
                guard case .decrypted(let opened, _) = try await vault.answer(raw(tag, aad)) else { throw Succeeded() }
                #expect(opened.isEqual(to: secret([7, 8, 9])))
                #expect(await vault.code(raw(tag, [1, 2])) == .decryptionFailed)
                #expect(await vault.code(raw(tag.reversed(), aad)) == .decryptionFailed)
                #expect(await vault.code(raw(tag, Array("CTDY".utf8))) == .invalidRequest)
                #expect(await vault.code(.encrypt(key: "root", plaintext: secret([1]), aad: Array("CTDY".utf8))) == .invalidRequest)
            }
        }
    }

    /// An envelope's parts are known to everyone who has it: the raw form must not open it without its context.
    @Test func rawFormOpensNoEnvelope() async throws {
        try await SoftHSM.withToken { token in
            try await token.withVault { vault in
                let context = try EncryptionContext(["tenant": "acme"])
                let blob = try await vault.wrap([1, 2, 3], context)
                let aad = Envelope.aad(header: blob[..<Envelope.headerLength], context)
                let raw = RawCiphertext(
                    keyID: Array(blob[6..<22]), nonce: Array(blob[22..<34]), ciphertext: Array(blob[34..<37]),
                    tag: Array(blob.suffix(16)), aad: aad)
                #expect(await vault.code(.decrypt(raw)) == .invalidRequest)
            }
        }
    }

    @Test func otherContextDoesNotOpen() async throws {
        try await SoftHSM.withToken { token in
            try await token.withVault { vault in
                let blob = try await vault.wrap([1, 2, 3], try EncryptionContext(["tenant": "caf\u{E9}"]))
                for context in [
                    .empty, try EncryptionContext(["tenant": "other"]), try EncryptionContext(["tenant": "cafe\u{301}"]),
                    try EncryptionContext(["tenant": "caf\u{E9}", "more": ""]),
                ] {
                    #expect(await vault.code(.unwrap(blob: blob, context: context)) == .decryptionFailed)
                    #expect(await vault.code(.rewrap(blob: blob, context: context)) == .decryptionFailed)
                }
            }
        }
    }

    @Test func byteFlippedAnywhereIsRefused() async throws {
        try await SoftHSM.withToken { token in
            try await token.withVault { vault in
                let blob = try await vault.wrap([UInt8](0..<40))
                for index in blob.indices {
                    var altered = blob
                    altered[index] ^= 1
                    let expected: CustodyError.Code =
                        switch index {
                        case ..<4: .malformedBlob
                        case 4..<6: .unsupportedFormat
                        case 6..<22: .keyNotFound
                        default: .decryptionFailed
                        }
                    #expect(await vault.code(.unwrap(blob: altered, context: .empty)) == expected, "byte \(index)")
                }
                // None of it harmed the connection.
                #expect(try await vault.unwrap(blob) == [UInt8](0..<40))
                #expect(vault.custodian.tokenState.name == "ready")
            }
        }
    }

    @Test func keyDestroyedBySomebodyElseIsNotFound() async throws {
        try await SoftHSM.withToken { token in
            try await token.withVault { vault in
                let blob = try await vault.wrap([1])
                try vault.behindItsBack { session in
                    for key in try session.objects(.secretKey, matching: [.label("root")]) { try session.destroyObject(key) }
                }
                #expect(await vault.code(.unwrap(blob: blob, context: .empty)) == .keyNotFound)
                #expect(await vault.code(.wrap(key: "root", plaintext: secret([1]), context: .empty)) == .keyNotFound)
                #expect(vault.custodian.tokenState.name == "ready")
            }
        }
    }

    @Test func keyDisabledBySomebodyElseIsNotUsable() async throws {
        try await SoftHSM.withToken { token in
            try await token.withVault { vault in
                let blob = try await vault.wrap([1])
                try vault.behindItsBack { session in
                    let key = try #require(try session.objects(.secretKey, matching: [.label("root")]).first)
                    try session.setAttributes(of: key, [.bool(.encrypt, false), .bool(.decrypt, false)])
                }
                #expect(await vault.code(.unwrap(blob: blob, context: .empty)) == .keyNotUsable)
                #expect(await vault.code(.wrap(key: "root", plaintext: secret([1]), context: .empty)) == .keyNotUsable)
                #expect(vault.custodian.tokenState.name == "ready")
            }
        }
    }

    @Test func newVersionTakesOverAndOldBlobsStillOpen() async throws {
        let (first, second) = (KeyID(newFor: 1), KeyID(newFor: 2))
        try await SoftHSM.withToken { token in
            try await token.withVault(keys: [RootKeyTemplate(id: first.bytes)]) { vault in
                let blob = try await vault.wrap([1, 2])
                try vault.behindItsBack { session in
                    try RootKeyTemplate(id: second.bytes).generate(session)
                    let old = try #require(try session.objects(.secretKey, matching: [.id(first.bytes)]).first)
                    try session.setAttributes(of: old, [.bool(.encrypt, false)])
                }
                let new = try await vault.wrap([3, 4])
                #expect(try Envelope(new).keyID == second)
                #expect(try await vault.unwrap(blob) == [1, 2])
                guard case .wrapped(let moved, _) = try await vault.answer(.rewrap(blob: blob, context: .empty)) else { throw Succeeded() }
                #expect(try Envelope(moved).keyID == second)
                #expect(try await vault.unwrap(moved) == [1, 2])
            }
        }
    }

    @Test func refusedKeyIsNeverUsed() async throws {
        var template = RootKeyTemplate(id: KeyID(newFor: 1).bytes)
        template.extractable = true
        let keys = [template]
        try await SoftHSM.withToken { token in
            try await token.withVault(keys: keys) { vault in
                #expect(await vault.code(.wrap(key: "root", plaintext: secret([1]), context: .empty)) == .keyRefused)
                #expect(await vault.code(.wrap(key: "gone", plaintext: secret([1]), context: .empty)) == .keyNotFound)
            }
        }
    }
}
