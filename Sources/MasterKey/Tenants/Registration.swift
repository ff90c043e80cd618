import CustodyClient
import Foundation
import SecureMemory

/// Makes the rows of new tenants, their master key encrypted by the KMS alone: what services have before they enable a root
/// key.
public struct Registration: Sendable {
    /// What a master key may have, in bytes: fewer would be guessed, more the KMS does not take.
    public static let lengths = 16...4_096

    private let database: any TenantDatabase
    private let kms: any KeyManagementService
    private let pins: TenantPins

    /// - Parameter pins: What was seen of tenants: one that had another master key is not made.
    public init(database: any TenantDatabase, kms: any KeyManagementService, pins: TenantPins = TenantPins()) {
        self.database = database
        self.kms = kms
        self.pins = pins
    }

    /// Makes a master key of 32 random bytes.
    ///
    /// - Parameter kmsKey: Any name of the KMS key to encrypt it under.
    /// - Throws: ``MasterKeyError`` with `tenant-exists`, `kms-...`, `database-...`.
    public func create(_ tenant: TenantName, underKMSKey kmsKey: String) async throws(MasterKeyError) -> TenantRecord {
        try await requireNone(tenant)
        let key = try await kms.describe(kmsKey).id
        let masterKey = LockedBytes.random(count: 32)
        let ciphertext = try await kms.encrypt(masterKey, under: key, context: tenant.encryptionContext)
        return try await insert(tenant, masterKey, ciphertext, key)
    }

    /// Takes over a master key that a service has: its KMS ciphertext, which is proved to open first.
    ///
    /// - Parameter context: The encryption context that the service gave to the KMS with it. If it is not the tenant's own,
    ///   the KMS encrypts anew with that: no other is ever asked for when the key is opened.
    /// - Throws: ``MasterKeyError`` with `tenant-exists`, `kms-...`, `database-...`; `row-damaged` if what opens can't be a
    ///   master key.
    public func take(
        _ tenant: TenantName, ciphertext: [UInt8], underKMSKey kmsKey: String, context: [String: String]
    ) async throws(MasterKeyError) -> TenantRecord {
        try await requireNone(tenant)
        let key = try await kms.describe(kmsKey).id
        let masterKey = try await kms.decrypt(ciphertext, under: key, context: context)
        guard Self.lengths.contains(masterKey.count) else {
            throw MasterKeyError(
                .rowDamaged,
                "what the KMS decrypted has \(masterKey.count) bytes; a master key has \(Self.lengths.lowerBound) to \(Self.lengths.upperBound)")
        }
        let own = tenant.encryptionContext
        let taken = Self.isSame(context, own) ? ciphertext : try await kms.encrypt(masterKey, under: key, context: own)
        return try await insert(tenant, masterKey, taken, key)
    }

    /// By bytes, as the KMS compares them.
    private static func isSame(_ a: [String: String], _ b: [String: String]) -> Bool {
        let texts = { (context: [String: String]) in Set(context.map { [Array($0.key.utf8), Array($0.value.utf8)] }) }
        return texts(a) == texts(b)
    }

    /// Before anything is asked of the KMS; the database decides in the end.
    private func requireNone(_ tenant: TenantName) async throws(MasterKeyError) {
        guard try await database.record(of: tenant) == nil else {
            throw MasterKeyError(
                .tenantExists, "tenant \(tenant) has a master key already; nothing was changed", advice: "see `custody-mek status \(tenant)`")
        }
    }

    private func insert(
        _ tenant: TenantName, _ masterKey: LockedBytes, _ ciphertext: [UInt8], _ key: KMSKeyID
    ) async throws(MasterKeyError) -> TenantRecord {
        let now = Date()
        let record = TenantRecord(
            tenant: tenant, masterKeyID: Identifier(ofMasterKey: masterKey), layers: .kms, blob: ciphertext, kmsKey: key,
            kmsContext: tenant.encryptionContext, createdAt: now, changedAt: now
        ).authenticated(by: masterKey, ciphertext: ciphertext)
        try pins.check(record)
        try await database.insert(record)
        try pins.note(record)
        // Whoever left the key last may have scheduled its deletion before the row was there to be seen.
        let state = try await kms.describe(key.rawValue).state
        guard state == .enabled else {
            throw MasterKeyError(
                .kmsKeyPendingDeletion, "KMS key \(key) of the new tenant \(tenant) is \(state.rawValue)",
                state: "the tenant is made, and opens only when the key is enabled again",
                advice: "cancel the key's deletion and enable it, then `custody-mek enable` or `custody-mek rotate-kms --new-key`")
        }
        return record
    }
}
