import AWSKMS
import Foundation
import MasterKey
import TestSupport
import Testing

/// With a KMS that refuses what a key's state forbids.
@Suite struct KeyStateTests {
    private func service(_ kind: DatabaseKind = .sqlite) async throws -> TenantService {
        try await TenantService(kind, server: try await KMSServer.honouringStates())
    }

    @Test func firstKeyIsToBeDeletedAlready() async throws {
        let service = try await service()
        try await service.withKMS { try await $0.scheduleDeletion(of: service.firstKey, afterDays: 7) }
        let refusal = try await service.refusal(service.enabling, exit: 1)
        #expect(refusal.code == "kms-key-pending-deletion", "\(refusal)")
        #expect(refusal.state?.contains("as it was") == true && refusal.advice?.contains("again goes on from here") == true, "\(refusal)")
        try await service.server.call("CancelKeyDeletion", ["KeyId": service.firstKey.rawValue])
        let disabled = try await service.refusal(service.enabling, exit: 1)
        #expect(disabled.code == "kms-key-disabled", "\(disabled)")
        try await service.server.call("EnableKey", ["KeyId": service.firstKey.rawValue])
        try await service.enable()
        try await service.expectEnabled("finished by a later run")
    }

    /// Why key 1 has to go: an old backup of the database is dead.
    @Test func oldBackupIsDead() async throws {
        let service = try await service()
        let backup = try await service.record()
        try await service.enable()
        let now = try await service.record()
        var restored = backup
        restored.revision = now.revision
        let row = restored
        try await service.withDatabase { try await $0.replace(row, recording: nil) }
        // Who has seen the tenant enabled does not even ask.
        #expect(try await service.refusal(["open", "\(service.tenant)", "--check"], exit: 1).code == "root-key-required")
        #expect(try await service.refusal(["open", "\(service.tenant)", "--check"], exit: 1, service.elsewhere).code == "kms-key-pending-deletion")
    }

    @Test func secondKeyIsDisabled() async throws {
        let service = try await service()
        try await service.enable()
        let key = try await service.record().kmsKey
        try await service.server.call("DisableKey", ["KeyId": key.rawValue])
        #expect(try await service.refusal(["open", "\(service.tenant)", "--check"], exit: 1).code == "kms-key-disabled")
        try await service.server.call("EnableKey", ["KeyId": key.rawValue])
        #expect(try await service.open() == service.masterKey)
    }
}
