import Foundation

/// Where a service keeps its tenants' encrypted master keys, and the journal of their changes.
///
/// Each method is one transaction, durable when it returns. Errors have the codes `database-...`, `schema-...`,
/// `row-...` and `tenant-...`.
public protocol TenantDatabase: Sendable {
    /// Which database this is, for messages.
    var name: String { get }
    /// Which database this is, the same for everybody who uses it from this machine in whatever way.
    var identity: String { get }

    /// Makes the tables or brings them up to date, and says the version of the schema before and after.
    func migrate() async throws(MasterKeyError) -> (from: Int, to: Int)

    // MARK: Tenants

    func record(of tenant: TenantName) async throws(MasterKeyError) -> TenantRecord?

    /// The next tenants in the order of their names' bytes; none only if there are no more. Rows without a valid name are passed
    /// over, see ``rowsWithoutName()``.
    func tenants(after tenant: TenantName?, limit: Int) async throws(MasterKeyError) -> [TenantName]

    /// The damage of each row whose name is none that a tenant can have.
    func rowsWithoutName() async throws(MasterKeyError) -> [MasterKeyError]

    /// The tenants whose row names this KMS key, a hundred at most.
    func tenants(under key: KMSKeyID) async throws(MasterKeyError) -> [TenantName]

    /// - Throws: `tenant-exists`.
    func insert(_ record: TenantRecord) async throws(MasterKeyError)

    /// Replaces layers, blob, KMS key and context, generation and tag, if the row still has the revision that `record` was read with; raises
    /// the revision. In the same transaction the journal's entry is written as by ``update(_:done:)``, if one is given.
    ///
    /// - Throws: `row-changed`; then nothing was written.
    func replace(_ record: TenantRecord, recording operation: OperationRecord?) async throws(MasterKeyError)

    func noteOpening(of tenant: TenantName, at date: Date) async throws(MasterKeyError)

    // MARK: Journal

    func unfinishedOperation(of tenant: TenantName) async throws(MasterKeyError) -> OperationRecord?

    /// All entries of a tenant, the newest first, with the steps as they were done.
    func operations(of tenant: TenantName) async throws(MasterKeyError) -> [(operation: OperationRecord, steps: [StepRecord])]

    /// Writes a new entry.
    ///
    /// - Throws: `operation-under-way` if the tenant has an unfinished one.
    func begin(_ operation: OperationRecord) async throws(MasterKeyError)

    /// Updates an entry that still has the version that `operation` was read with, and raises the version. If `step` is
    /// given, it is added to the steps that were done.
    ///
    /// - Throws: `row-changed` if another run has written the entry since.
    func update(_ operation: OperationRecord, done step: Step?) async throws(MasterKeyError)

    // MARK: Exclusion

    /// Takes the tenant for this process. It is free again when the lock is released or the process has ended, however.
    ///
    /// - Returns: nil if another process, or another task of this one, holds it.
    func lock(_ tenant: TenantName) async throws(MasterKeyError) -> (any TenantLock)?

    /// Removes from the database's files what its rows no longer hold, as far as a client can. An old ciphertext that
    /// lingers is dead once its KMS key is deleted; until then this makes it harder to come by.
    func scrub() async throws(MasterKeyError)

    func close() async
}

/// A tenant that is taken, see ``TenantDatabase/lock(_:)``.
public protocol TenantLock: Sendable {
    func release() async
}
