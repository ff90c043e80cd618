import Foundation
import MasterKey
import SecureMemory
import Testing
import TestSupport

@testable import AWSKMS

/// Against MiniStack, which refuses what a key's state forbids.
@Suite struct KeyStateTests {
    @Test func aKeyThatIsToBeDeletedOpensNothing() async throws {
        try await withClient(configuration(try await KMSServer.honouringStates().endpoint)) { kms in
            let key = try await kms.createKey(description: "")
            let ciphertext = try await kms.encrypt(plaintext, under: key, context: context)
            #expect(try await kms.decrypt(ciphertext, under: key, context: context).isEqual(to: plaintext))
            try await kms.scheduleDeletion(of: key, afterDays: 7)
            for call in [
                { _ = try await kms.decrypt(ciphertext, under: key, context: context) },
                { _ = try await kms.encrypt(plaintext, under: key, context: context) },
            ] as [() async throws -> Void] {
                let error = try await failure(call)
                #expect(error.code == .kmsKeyPendingDeletion)
                #expect(error.message.contains(key.rawValue))
                #expect(error.advice?.contains("CancelKeyDeletion") == true)
            }
            try await kms.scheduleDeletion(of: key, afterDays: 7)
        }
    }

    @Test func aDisabledKeyOpensNothing() async throws {
        let server = try await KMSServer.honouringStates()
        try await withClient(configuration(server.endpoint)) { kms in
            let key = try await kms.createKey(description: "")
            try await server.call("DisableKey", ["KeyId": key.rawValue])
            #expect(try await kms.describe(key.rawValue).state == .disabled)
            let error = try await failure { _ = try await kms.encrypt(plaintext, under: key, context: context) }
            #expect(error.code == .kmsKeyDisabled)
            #expect(error.advice?.contains("EnableKey") == true)
            try await server.call("EnableKey", ["KeyId": key.rawValue])
            _ = try await kms.encrypt(plaintext, under: key, context: context)
        }
    }

    /// As AWS does, and no server that can be had.
    @Test func aDeletionThatIsScheduledAlreadyIsDone() async throws {
        try await withProxy { kms, proxy in
            let key = try await kms.createKey(description: "")
            let refused = proxy.on("ScheduleKeyDeletion", .error("KMSInvalidStateException", message: "not now"))
            let error = try await failure { try await kms.scheduleDeletion(of: key, afterDays: 7) }
            #expect(error.code == .kmsRefused, "the key is enabled")
            proxy.reset()
            try await kms.scheduleDeletion(of: key, afterDays: 7)
            proxy.on("ScheduleKeyDeletion", .error("KMSInvalidStateException", message: "not now"))
            try await kms.scheduleDeletion(of: key, afterDays: 7)
            #expect(refused.count == 1)
        }
    }

    @Test func anInvalidStateIsLookedAt() async throws {
        try await withProxy { kms, proxy in
            let key = try await kms.createKey(description: "")
            proxy.on("Encrypt", .error("KMSInvalidStateException", message: "something"))
            let refused = try await failure { _ = try await kms.encrypt(plaintext, under: key, context: [:]) }
            #expect(refused.code == .kmsRefused && refused.message.contains("something"))
            try await kms.scheduleDeletion(of: key, afterDays: 7)
            let pending = try await failure { _ = try await kms.encrypt(plaintext, under: key, context: [:]) }
            #expect(pending.code == .kmsKeyPendingDeletion)
        }
    }
}
