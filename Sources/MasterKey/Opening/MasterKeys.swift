import CustodyClient
import Foundation
import SecureMemory

/// Opens tenants' master keys for a service, and keeps them for a bounded time and number of uses.
///
/// Opening reads the tenant's row, has `custodyd` unwrap and the KMS decrypt. While a key is kept, opening it costs none of
/// these, and the root key's kill switch shows its effect only when the key's time is over, or when it is dropped.
/// Any number of tasks that ask for the same key at once cause one opening. Failures are not kept.
///
/// The row alone does not say how a tenant is opened: see ``TenantPins`` for what was seen of it before, and
/// ``RootKeyRequirement`` for services all of whose tenants are enabled.
public final class MasterKeys: Sendable {
    private let database: any TenantDatabase
    private let opener: EnvelopeOpener
    private let pins: TenantPins
    private let cache: MasterKeyCache?

    /// - Parameters:
    ///   - cache: How long keys are kept; nil for not at all.
    ///   - requirement: Whether only tenants under a root key are opened.
    ///   - pins: What was seen of the tenants. By default what this object sees itself.
    public init(
        database: any TenantDatabase, kms: any KeyManagementService, custody: CustodyClient,
        cache: MasterKeyCacheLimits? = MasterKeyCacheLimits(), requiring requirement: RootKeyRequirement = .none,
        pins: TenantPins = TenantPins()
    ) {
        self.database = database
        self.pins = pins
        opener = EnvelopeOpener(rootKey: RootKeyService(custody), kms: kms, pins: pins, requirement: requirement)
        self.cache = cache.map { MasterKeyCache($0) }
    }

    /// A tenant's master key.
    ///
    /// - Parameter id: The id of the master key that it has to be, where the service knows it: sealed data name it. nil for
    ///   whatever the row holds and ``TenantPins`` allow.
    /// - Throws: ``MasterKeyError``: `tenant-not-found`, `database-...`, `root-key-...` if the user has taken the root key
    ///   away or the row is of one, and must not be, without it, `token-...`, `daemon-...`, `envelope-refused`, `kms-...`,
    ///   `row-...` and `master-key-replaced` if somebody has changed the row.
    public func open(_ tenant: TenantName, expecting id: Identifier? = nil) async throws(MasterKeyError) -> OpenedMasterKey {
        let key: OpenedMasterKey
        if let cache {
            key = try await cache.key(of: tenant) { () async throws(MasterKeyError) in try await openEnvelope(of: tenant, expecting: id) }
        } else {
            key = try await openEnvelope(of: tenant, expecting: id)
        }
        try Self.check(key.id, is: id, tenant)
        return key
    }

    private static func check(_ found: Identifier, is id: Identifier?, _ tenant: TenantName) throws(MasterKeyError) {
        guard let id, id != found else { return }
        throw MasterKeyError(
            .masterKeyReplaced, "the row of tenant \(tenant) names master key \(found), and \(id) is expected",
            advice: "restore the row from a backup, and do not seal data before")
    }

    /// Forgets a tenant's key that is kept at once, also for whoever was given it from there. Who is just opening it gets
    /// `master-key-dropped`. A key that is not kept any more, or never was since the cache is off, is its holder's to drop.
    public func drop(_ tenant: TenantName) { cache?.drop(tenant) }

    /// Forgets all keys that are kept, likewise.
    public func dropAll() { cache?.dropAll() }

    private func openEnvelope(of tenant: TenantName, expecting id: Identifier?) async throws(MasterKeyError) -> OpenedMasterKey {
        var record = try await database.existingRecord(of: tenant)
        let bytes: LockedBytes
        do throws(MasterKeyError) {
            try Self.check(record.masterKeyID, is: id, tenant)
            bytes = try await opener.open(record)
        } catch {
            // The envelope may have been changed, and its old KMS key retired, since the row was read.
            let again = try await database.existingRecord(of: tenant)
            guard again.revision != record.revision else { throw error }
            record = again
            try Self.check(record.masterKeyID, is: id, tenant)
            bytes = try await opener.open(record)
        }
        try pins.note(record)
        let now = Date()
        // To the minute, so that a service which opens often does not write often.
        if record.lastOpenedAt.map({ now.timeIntervalSince($0) >= 60 }) ?? true {
            // The time is for people to look at: a database that can't be written to must not keep a service from its data.
            try? await database.noteOpening(of: tenant, at: now)
        }
        return OpenedMasterKey(tenant: tenant, id: record.masterKeyID, bytes: bytes)
    }
}
