import AWSKMS
import CustodyClient
import Foundation
import MasterKey
import SecureMemory
import ToolSupport

/// Makes tenants that are enabled, by the shortest way: this is not what is measured.
struct Preparation {
    struct Layers: Sendable {
        let blob: [UInt8]
        let ciphertext: [UInt8]
        let key: KMSKeyID
        let rootKeyContext: [String: String]
    }

    let database: any TenantDatabase
    let kms: AWSKMSClient
    let custody: CustodyClient
    let rootKey: String

    func tenants(_ count: Int) async throws -> [TenantName] {
        Output.complain("making \(count) tenants")
        _ = try await database.migrate()
        let key = try await kms.createKey(description: "custody-mek-bench")
        let names = try (0..<count).map { try TenantName("bench-\($0)") }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for part in 0..<8 {
                group.addTask {
                    for index in stride(from: part, to: count, by: 8) { try await make(names[index], key) }
                }
            }
            try await group.waitForAll()
        }
        return names
    }

    private func make(_ tenant: TenantName, _ key: KMSKeyID) async throws {
        let masterKey = LockedBytes.random(count: 32)
        let ciphertext = try await kms.encrypt(masterKey, under: key, context: tenant.encryptionContext)
        let now = Date()
        var record = TenantRecord(
            tenant: tenant, masterKeyID: Identifier(ofMasterKey: masterKey), layers: .kms, blob: ciphertext, kmsKey: key,
            kmsContext: tenant.encryptionContext, createdAt: now, changedAt: now, lastOpenedAt: now)
        let wrapped = try await custody.wrap(SecretBytes(ciphertext), key: rootKey, context: record.rootKeyContext)
        record.layers = .rootKeyOverKMS(name: wrapped.keyName, version: wrapped.keyVersion)
        record.blob = wrapped.blob
        try await database.insert(record.authenticated(by: masterKey, ciphertext: ciphertext))
    }

    /// Both layers of each tenant.
    func inner(_ names: [TenantName]) async throws -> [Layers] {
        var layers: [Layers] = []
        for name in names {
            let record = try await database.existingRecord(of: name)
            let ciphertext = try await custody.unwrap(record.blob, context: record.rootKeyContext).plaintext.exposed()
            layers.append(Layers(blob: record.blob, ciphertext: ciphertext, key: record.kmsKey, rootKeyContext: record.rootKeyContext))
        }
        return layers
    }
}
