import ByteEncoding
import PKCS11
import Testing
import TestSupport

@testable import Custody

/// What the custodian decides before it asks the HSM, and what it records of it.
@Suite struct CustodianPolicyTests {
    @Test func strangersAreDeniedAndLearnNothing() async throws {
        try await SoftHSM.withToken { token in
            try await token.withVault { vault in
                let blob = try await vault.wrap([1])
                var unknown = blob
                unknown[10] ^= 1
                for operation: Custody.Operation in [
                    .wrap(key: "root", plaintext: secret([1]), context: .empty),
                    .wrap(key: "no-such-key", plaintext: secret([1]), context: .empty),
                    .unwrap(blob: blob, context: .empty), .unwrap(blob: unknown, context: .empty),
                    .rewrap(blob: blob, context: .empty),
                    .generateDataKey(key: "root", length: 32, withPlaintext: true, context: .empty),
                    .encrypt(key: "root", plaintext: secret([1]), aad: []), .status,
                ] {
                    do throws(CustodyError) {
                        _ = try await vault.answer(operation, by: .stranger)
                        Issue.record("\(operation.kind) is not denied")
                    } catch {
                        #expect(error.code == .denied, "\(operation.kind)")
                        #expect(error.message == "denied")
                        #expect(error.cause == nil)
                    }
                }
                let lines = try vault.auditLines()
                #expect(lines.count == 9)
                #expect(lines.dropFirst().allSatisfy { $0.contains(#""decision":"denied""#) && $0.contains(#""uid":2000"#) })
            }
        }
    }

    @Test func grantForOneKeyTellsNothingOfAnother() async throws {
        let (mine, other, later) = (KeyID(newFor: 1), KeyID(newFor: 1), KeyID(newFor: 2))
        let keys = [RootKeyTemplate("mine", id: mine.bytes), RootKeyTemplate("other", id: other.bytes)]
        let grants = [Grant.everything(keys: ["mine"]), .everything(.stranger)]
        try await SoftHSM.withToken { token in
            try await token.withVault(keys: keys, grants: grants) { vault in
                #expect(await vault.code(.wrap(key: "other", plaintext: secret([1]), context: .empty)) == .denied)
                var blob = try await vault.wrap([1], key: "mine")
                blob.replaceSubrange(6..<22, with: other.bytes)
                #expect(await vault.code(.unwrap(blob: blob, context: .empty)) == .denied)
                // Nor of one that the ring has to be looked up for first.
                try vault.behindItsBack { session in
                    var disabled = RootKeyTemplate("other", id: later.bytes)
                    (disabled.encrypt, disabled.decrypt) = (false, false)
                    try disabled.generate(session)
                }
                blob.replaceSubrange(6..<22, with: later.bytes)
                // Looks are made with a pause between them, so the key may be unknown at first.
                let code = try await eventuallyKnown(vault, blob)
                #expect(code == .denied)
            }
        }
    }

    private func eventuallyKnown(_ vault: Vault, _ blob: [UInt8]) async throws -> CustodyError.Code? {
        var latest: CustodyError.Code?
        try await eventually("a look that finds the new key") {
            latest = await vault.code(.unwrap(blob: blob, context: .empty))
            return latest != .keyNotFound
        }
        return latest
    }

    @Test func contextOfTheGrantBindsTheCaller() async throws {
        let grants = [Grant.everything(context: ["tenant": Pattern("acme")])]
        try await SoftHSM.withToken { token in
            try await token.withVault(grants: grants) { vault in
                let context = try EncryptionContext(["tenant": "acme"])
                let blob = try await vault.wrap([1], context)
                #expect(try await vault.unwrap(blob, context) == [1])
                #expect(await vault.code(.unwrap(blob: blob, context: .empty)) == .denied)
                #expect(await vault.code(.encrypt(key: "root", plaintext: secret([1]), aad: [])) == .denied)
            }
        }
    }

    @Test func batchHasAnAnswerAndALinePerItem() async throws {
        try await SoftHSM.withToken { token in
            try await token.withVault { vault in
                let reply = await vault.answers([
                    .wrap(key: "root", plaintext: secret([1]), context: .empty), .unwrap(blob: [], context: .empty), .status,
                    .wrap(key: "root", plaintext: secret([]), context: .empty), .wrap(key: "root", plaintext: secret([2]), context: .empty),
                ])
                let codes = reply.map { result -> CustodyError.Code? in
                    if case .failure(let error) = result { error.code } else { nil }
                }
                // Status must be alone.
                #expect(codes == [nil, .malformedBlob, .invalidRequest, .invalidRequest, nil])
                let lines = try vault.auditLines()
                #expect(lines.count == 5)
                for (index, line) in lines.enumerated() { #expect(line.contains("\"item\":\(index)")) }
                #expect(await vault.answers([]).isEmpty)
            }
        }
    }

    @Test func auditLogHoldsNoSecret() async throws {
        let plaintext = Array("plaintext-73591846".utf8)
        try await SoftHSM.withToken { token in
            try await token.withVault { vault in
                let blob = try await vault.wrap(plaintext)
                #expect(try await vault.unwrap(blob) == plaintext)
                _ = await vault.code(.unwrap(blob: blob.reversed(), context: .empty))
                let text = try vault.auditLines().joined()
                #expect(!text.contains("73591846"))
                #expect(!text.contains(hexadecimal(plaintext)))
                #expect(!text.contains(SoftHSMToken.userPIN))
            }
        }
    }

    @Test func nothingIsAnsweredThatIsNotRecorded() async throws {
        try await SoftHSM.withToken { token in
            try await token.withVault(auditFile: "/dev/full") { vault in
                #expect(await vault.code(.wrap(key: "root", plaintext: secret([1]), context: .empty)) == .auditUnavailable)
                // Status is what tells the operator of it.
                guard case .status(let report) = try await vault.answer(.status) else { throw Succeeded() }
                #expect(!report.isAuditWritable)
                #expect(report.audit.failure != nil)
                #expect(await vault.code(.status, by: .stranger) == .auditUnavailable)
                #expect(await vault.code(.wrap(key: "root", plaintext: secret([1]), context: .empty), by: .stranger) == .auditUnavailable)
            }
        }
    }
}
