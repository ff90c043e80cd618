import CustodyClient
import Foundation
import SecureMemory

/// An operator's word for a tenant's row as it stands: after the migration from an older release, which did not authenticate
/// rows, and after an older row was restored from a backup on purpose.
///
/// Nothing else makes a row pass that was not authenticated, so that nobody gets back to that by taking the tag away. What is
/// vouched for is shown to the operator before; it should be what he knows of the tenant from elsewhere.
public struct Acceptance: Sendable {
    public enum Outcome: Sendable {
        /// The row was put into the present form: its envelope made anew for its generation, its tag written.
        case authenticated(TenantRecord)
        /// The row has its tag; it was proved to open, and what was seen before is forgotten.
        case pinned(TenantRecord)
    }

    private let database: any TenantDatabase
    private let kms: any KeyManagementService
    private let rootKey: RootKeyService
    private let pins: TenantPins

    public init(database: any TenantDatabase, kms: any KeyManagementService, custody: CustodyClient, pins: TenantPins = TenantPins()) {
        self.database = database
        self.kms = kms
        self.pins = pins
        rootKey = RootKeyService(custody)
    }

    /// - Parameters:
    ///   - context: What an older release gave to the KMS as encryption context, if that was not the tenant's own. It is never
    ///     taken from the row.
    ///   - confirm: Asked with the row, which was proved to open; nothing is changed if it throws.
    /// - Throws: ``MasterKeyError``, with the row unchanged.
    public func run(
        _ tenant: TenantName, kmsContext context: [String: String]? = nil,
        confirm: @Sendable (TenantRecord) async throws(MasterKeyError) -> Void
    ) async throws(MasterKeyError) -> Outcome {
        try await database.exclusively(tenant) { () async throws(MasterKeyError) in
            let record = try await database.existingRecord(of: tenant)
            guard record.tag == nil else {
                _ = try await EnvelopeOpener(rootKey: rootKey, kms: kms, pins: TenantPins()).open(record)
                try await confirm(record)
                try pins.replace(record)
                return .pinned(record)
            }
            return .authenticated(try await authenticate(record, context, confirm))
        }
    }

    private func authenticate(
        _ record: TenantRecord, _ context: [String: String]?, _ confirm: @Sendable (TenantRecord) async throws(MasterKeyError) -> Void
    ) async throws(MasterKeyError) -> TenantRecord {
        let own = record.tenant.encryptionContext
        var ciphertext = record.blob
        if record.isEnabled {
            // Older releases bound the envelope to the tenant alone.
            let opened = try await rootKey.unwrap(record.blob, of: record, context: own)
            guard opened.layers.isSame(as: record.layers) else { throw EnvelopeOpener.altered(record.tenant) }
            ciphertext = opened.ciphertext
        }
        let opener = EnvelopeOpener(rootKey: rootKey, kms: kms, pins: TenantPins())
        let masterKey = try await open(ciphertext, record, context ?? own, opener)
        try await confirm(record)

        if context != nil { ciphertext = try await kms.encrypt(masterKey, under: record.kmsKey, context: own) }
        var changed = try record.nextGeneration()
        changed.blob = ciphertext
        changed.kmsContext = own
        if case .rootKeyOverKMS(let name, _) = record.layers {
            (changed.blob, changed.layers) = try await rootKey.wrap(ciphertext, under: name, for: changed)
        }
        changed.changedAt = Date()
        changed = changed.authenticated(by: masterKey, ciphertext: ciphertext)
        guard try await opener.open(changed).isEqual(to: masterKey) else {
            throw MasterKeyError(
                .proofFailed, "the new envelope of tenant \(record.tenant) opens to another master key than the old one",
                state: "the row is as it was", advice: "do not run it again before KMS and HSM are understood: one of them has given a wrong answer")
        }
        try await database.replace(changed, recording: nil)
        changed.revision += 1
        try pins.replace(changed)
        return changed
    }

    private func open(
        _ ciphertext: [UInt8], _ record: TenantRecord, _ context: [String: String], _ opener: EnvelopeOpener
    ) async throws(MasterKeyError) -> LockedBytes {
        do throws(MasterKeyError) {
            return try await opener.decrypt(ciphertext, record, context: context)
        } catch {
            // One that names a tenant is most likely another's, whose row somebody has put here.
            guard error.code == .kmsCiphertextRefused, record.kmsContext["tenant"] == nil else { throw error }
            var explained = error
            let named = record.kmsContext.sorted { $0.key < $1.key }.map { "--kms-context \($0)=\($1)" }.joined(separator: " ")
            explained.advice = "the row says that the service gave the KMS another context; if you know that it did, say so: \(named)"
            throw explained
        }
    }
}
