import SecureMemory

/// Opens a tenant's envelope, layer by layer: `custodyd` first, then the KMS. Stores nothing.
struct EnvelopeOpener: Sendable {
    let rootKey: RootKeyService
    let kms: any KeyManagementService

    func open(_ record: TenantRecord) async throws(MasterKeyError) -> LockedBytes {
        let ciphertext: [UInt8] =
            switch record.layers {
            case .kms: record.blob
            case .rootKeyOverKMS: try await rootKey.unwrap(record.blob, of: record.tenant)
            }
        let masterKey = try await kms.decrypt(ciphertext, under: record.kmsKey, context: record.kmsContext)
        guard Identifier(ofMasterKey: masterKey) == record.masterKeyID else {
            throw MasterKeyError(
                .rowDamaged, "the envelope in the row of tenant \(record.tenant) holds another master key than the row names",
                advice: "restore the row from a backup; do not seal data before")
        }
        return masterKey
    }
}
