import CustodyClient
import Foundation
import SecureMemory

/// Opens tenants' master keys for a service, and keeps them for a bounded time and number of uses.
///
/// Opening reads the tenant's row, has `custodyd` unwrap and the KMS decrypt. While a key is kept, opening it costs none of
/// these, and the root key's kill switch shows its effect only when the key's time is over, or when it is dropped.
/// Any number of tasks that ask for the same key at once cause one opening. Failures are not kept.
public final class MasterKeys: Sendable {
    private let database: any TenantDatabase
    private let opener: EnvelopeOpener
    private let cache: MasterKeyCache?

    /// - Parameter cache: How long keys are kept; nil for not at all.
    public init(
        database: any TenantDatabase, kms: any KeyManagementService, custody: CustodyClient,
        cache: MasterKeyCacheLimits? = MasterKeyCacheLimits()
    ) {
        self.database = database
        opener = EnvelopeOpener(rootKey: RootKeyService(custody), kms: kms)
        self.cache = cache.map { MasterKeyCache($0) }
    }

    /// A tenant's master key.
    ///
    /// - Throws: ``MasterKeyError``: `tenant-not-found`, `database-...`, `root-key-...` if the user has taken the root key
    ///   away, `token-...`, `daemon-...`, `envelope-refused`, `kms-...`.
    public func open(_ tenant: TenantName) async throws(MasterKeyError) -> OpenedMasterKey {
        guard let cache else { return try await openEnvelope(of: tenant) }
        return try await cache.key(of: tenant) { () async throws(MasterKeyError) in try await openEnvelope(of: tenant) }
    }

    /// Forgets a tenant's key that is kept at once, also for whoever was given it from there. Who is just opening it gets
    /// `master-key-dropped`. A key that is not kept any more, or never was since the cache is off, is its holder's to drop.
    public func drop(_ tenant: TenantName) { cache?.drop(tenant) }

    /// Forgets all keys that are kept, likewise.
    public func dropAll() { cache?.dropAll() }

    private func openEnvelope(of tenant: TenantName) async throws(MasterKeyError) -> OpenedMasterKey {
        var record = try await database.existingRecord(of: tenant)
        let bytes: LockedBytes
        do throws(MasterKeyError) {
            bytes = try await opener.open(record)
        } catch {
            // The envelope may have been changed, and its old KMS key retired, since the row was read.
            let again = try await database.existingRecord(of: tenant)
            guard again.revision != record.revision else { throw error }
            record = again
            bytes = try await opener.open(record)
        }
        let now = Date()
        // To the minute, so that a service which opens often does not write often.
        if record.lastOpenedAt.map({ now.timeIntervalSince($0) >= 60 }) ?? true {
            // The time is for people to look at: a database that can't be written to must not keep a service from its data.
            try? await database.noteOpening(of: tenant, at: now)
        }
        return OpenedMasterKey(tenant: tenant, id: record.masterKeyID, bytes: bytes)
    }
}
