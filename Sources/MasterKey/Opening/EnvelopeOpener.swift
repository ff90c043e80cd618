import SecureMemory

/// Opens a tenant's envelope, layer by layer: `custodyd` first, then the KMS. Stores nothing.
///
/// Of a row nothing is believed that the layers, the master key itself or what was seen before do not vouch for: both
/// layers are asked for the tenant that the caller means, the master key has the id that the row names and has authenticated
/// the row, and the row takes nothing back.
struct EnvelopeOpener: Sendable {
    let rootKey: RootKeyService
    let kms: any KeyManagementService
    let pins: TenantPins
    var requirement = RootKeyRequirement.none

    /// - Parameter record: The row of the tenant that is meant, see ``TenantDatabase/existingRecord(of:)``.
    func open(_ record: TenantRecord) async throws(MasterKeyError) -> LockedBytes {
        // Before anybody is asked: a row that is refused is refused whoever is away.
        try requirement.check(record.layers, of: record.tenant)
        guard record.tag != nil else { throw record.notAccepted }
        try pins.check(record)
        let ciphertext = try await kmsCiphertext(record)
        let masterKey = try await decrypt(ciphertext, record, context: record.tenant.encryptionContext)
        guard RowAuthentication(by: masterKey).isAuthentic(record, ciphertext: ciphertext) else { throw Self.altered(record.tenant) }
        return masterKey
    }

    private func kmsCiphertext(_ record: TenantRecord) async throws(MasterKeyError) -> [UInt8] {
        guard record.isEnabled else { return record.blob }
        let (ciphertext, layers) = try await rootKey.unwrap(record.blob, of: record)
        guard layers.isSame(as: record.layers) else { throw Self.altered(record.tenant) }
        return ciphertext
    }

    func decrypt(
        _ ciphertext: [UInt8], _ record: TenantRecord, context: [String: String]
    ) async throws(MasterKeyError) -> LockedBytes {
        let masterKey = try await kms.decrypt(ciphertext, under: record.kmsKey, context: context)
        guard Identifier(ofMasterKey: masterKey) == record.masterKeyID else {
            throw MasterKeyError(
                .rowDamaged, "the envelope in the row of tenant \(record.tenant) holds another master key than the row names",
                advice: "restore the row from a backup; do not seal data before")
        }
        return masterKey
    }

    static func altered(_ tenant: TenantName) -> MasterKeyError {
        MasterKeyError(
            .rowAltered, "the row of tenant \(tenant) is not as it was written: its tag does not fit, or its root key is another",
            advice: "restore the row from a backup; do not seal data before")
    }
}

extension TenantRecord {
    var notAccepted: MasterKeyError {
        MasterKeyError(
            .rowNotAccepted, "nothing authenticates the row of tenant \(tenant)",
            advice: "if the database was migrated from an older release just now, vouch for the row by `custody-mek accept \(tenant)`; else somebody has changed it: restore it from a backup")
    }
}

extension EnvelopeLayers {
    /// By bytes: names that only look the same are different ones.
    func isSame(as other: EnvelopeLayers) -> Bool {
        switch (self, other) {
        case (.kms, .kms): true
        case (.rootKeyOverKMS(let name, let version), .rootKeyOverKMS(let otherName, let otherVersion)):
            version == otherVersion && name.utf8.elementsEqual(otherName.utf8)
        default: false
        }
    }
}
