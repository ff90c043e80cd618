import CustodyClient
import Foundation

/// Moves envelopes to the newest version of their root key. The master keys are not exposed and the KMS is not asked.
public struct Rewrapping: Sendable {
    public enum Outcome: Sendable {
        case rewrapped(TenantRecord)
        /// The envelope was under the newest version already; nothing was written.
        case alreadyNewest(TenantRecord)
    }

    private let database: any TenantDatabase
    private let rootKey: RootKeyService
    private let pins: TenantPins

    public init(database: any TenantDatabase, custody: CustodyClient, pins: TenantPins = TenantPins()) {
        self.database = database
        self.pins = pins
        rootKey = RootKeyService(custody)
    }

    /// Rewraps a tenant's envelope, proves that the new one holds what the old one held, and replaces it, if nothing has
    /// changed the row meanwhile.
    ///
    /// - Throws: ``MasterKeyError``, with the row unchanged.
    public func run(_ tenant: TenantName) async throws(MasterKeyError) -> Outcome {
        try await database.exclusively(tenant) { () async throws(MasterKeyError) in try await runExclusively(tenant) }
    }

    private func runExclusively(_ tenant: TenantName) async throws(MasterKeyError) -> Outcome {
        let record = try await database.existingRecord(of: tenant)
        guard record.isEnabled else {
            throw MasterKeyError(
                .notEnabled, "tenant \(tenant) is encrypted by the KMS alone, there is no envelope to wrap anew",
                advice: "enable its root key by `custody-mek enable \(tenant) --root-key NAME`")
        }
        guard record.tag != nil else { throw record.notAccepted }
        try pins.check(record)
        let rewrapped = try await rootKey.rewrap(record)
        guard !rewrapped.layers.isSame(as: record.layers) else { return .alreadyNewest(record) }
        let old = try await rootKey.unwrap(record.blob, of: record)
        let new = try await rootKey.unwrap(rewrapped.blob, of: record)
        guard old.layers.isSame(as: record.layers) else { throw EnvelopeOpener.altered(tenant) }
        guard new.ciphertext == old.ciphertext, new.layers.isSame(as: rewrapped.layers) else {
            throw MasterKeyError(
                .proofFailed, "the new envelope of tenant \(tenant) holds something else than the old one",
                state: "the row is as it was", advice: "do not run it again before the HSM is understood: it has given a wrong answer")
        }
        var changed = record
        changed.layers = rewrapped.layers
        changed.blob = rewrapped.blob
        changed.changedAt = Date()
        try await database.replace(changed, recording: nil)
        changed.revision += 1
        try pins.note(changed)
        return .rewrapped(changed)
    }
}
