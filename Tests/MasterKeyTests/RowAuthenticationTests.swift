import Foundation
import SecureMemory
import TestSupport
import Testing

@testable import MasterKey

@Suite struct RowAuthenticationTests {
    private let masterKey = LockedBytes(1...32)

    private func record(
        _ tenant: String = "acme", _ layers: EnvelopeLayers = .kms, kmsKey: String = "arn:aws:kms:eu-central-1:1:key/a", generation: Int64 = 1
    ) throws -> TenantRecord {
        TenantRecord(
            tenant: try TenantName(tenant), masterKeyID: Identifier(ofMasterKey: masterKey), layers: layers, blob: [1, 2, 3],
            kmsKey: KMSKeyID(rawValue: kmsKey), kmsContext: [:], generation: generation, createdAt: .now, changedAt: .now)
    }

    /// The expected values are of another implementation of HKDF and HMAC.
    @Test func tagIsWhatIsDocumented() throws {
        let authentication = RowAuthentication(by: masterKey)
        #expect(authentication.tag(of: try record(), ciphertext: [1, 2, 3]) == bytes(hex: "b6f90e4313959de05aff4b6d51af958f165068ffdbb329ed22de87bdee4a14da"))
        let enabled = try record("acme", .rootKeyOverKMS(name: "payments", version: 3), generation: 7)
        #expect(authentication.tag(of: enabled, ciphertext: [1, 2, 3]) == bytes(hex: "567c500df9293f734d278b2c35cf1b7f6c64652e8b5e29319de9c5cebcda02ad"))
    }

    @Test func whateverIsChangedDoesNotPass() throws {
        let enabled = EnvelopeLayers.rootKeyOverKMS(name: "ab", version: 1)
        let row = try record("acme", enabled, kmsKey: "c", generation: 2).authenticated(by: masterKey, ciphertext: [9])
        let authentication = RowAuthentication(by: masterKey)
        #expect(authentication.isAuthentic(row, ciphertext: [9]))
        #expect(!authentication.isAuthentic(row, ciphertext: [8]) && !authentication.isAuthentic(row, ciphertext: []))
        #expect(!RowAuthentication(by: LockedBytes(2...33)).isAuthentic(row, ciphertext: [9]))
        for other in [
            try record("acm", enabled, kmsKey: "c", generation: 2), try record("acme", .kms, kmsKey: "c", generation: 2),
            // The fields have lengths: what moves from one to the next is noticed.
            try record("acme", .rootKeyOverKMS(name: "a", version: 1), kmsKey: "bc", generation: 2),
            try record("acme", .rootKeyOverKMS(name: "abc", version: 1), kmsKey: "", generation: 2),
            try record("acme", enabled, kmsKey: "d", generation: 2), try record("acme", enabled, kmsKey: "c", generation: 3),
        ] {
            var altered = other
            altered.tag = row.tag
            #expect(!authentication.isAuthentic(altered, ciphertext: [9]))
        }
        for tag in [nil, [], Array(row.tag?.dropLast() ?? []), (row.tag ?? []) + [0]] as [[UInt8]?] {
            var altered = row
            altered.tag = tag
            #expect(!authentication.isAuthentic(altered, ciphertext: [9]))
        }
    }

    @Test func aGenerationThatCantGrowIsDamage() throws {
        #expect(try record(generation: 0).nextGeneration().generation == 1)
        for generation in [Int64.max, -1, .min] {
            #expect(#expect(throws: MasterKeyError.self) { try record(generation: generation).nextGeneration() }?.code == .rowDamaged)
        }
    }

    @Test func identifiersAreReadInOneForm() throws {
        let id = Identifier()
        #expect(Identifier(hexadecimal: "\(id)") == id && Identifier(hexadecimal: "\(id)".uppercased()) == id)
        for text in ["", "\(id)0", "+" + "\(id)".dropFirst(), String("\(id)".dropLast()), String(repeating: "x", count: 32), String(repeating: "ü", count: 16)] {
            #expect(Identifier(hexadecimal: text) == nil)
        }
    }
}
