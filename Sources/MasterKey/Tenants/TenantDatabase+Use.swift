extension TenantDatabase {
    /// The row of a tenant that has to be there.
    ///
    /// - Throws: `tenant-not-found`, or what ``record(of:)`` throws.
    public func existingRecord(of tenant: TenantName) async throws(MasterKeyError) -> TenantRecord {
        guard let record = try await record(of: tenant) else {
            throw MasterKeyError(
                .tenantNotFound, "\(name) has no row for tenant \(tenant)",
                advice: "`custody-mek status` lists the tenants; `custody-mek create` or `custody-mek import` makes one")
        }
        // Whoever serves the database may answer with another's: both layers would then be asked for that one.
        guard record.tenant == tenant else {
            throw MasterKeyError(
                .rowDamaged, "\(name) has answered with the row of tenant \(record.tenant) when asked for \(tenant)",
                advice: "restore the row from a backup; do not seal data before")
        }
        return record
    }

    /// Runs a body while no other process changes the tenant's envelope.
    ///
    /// - Throws: `operation-under-way` if one does, or what the body throws.
    func exclusively<R>(
        _ tenant: TenantName, _ body: () async throws(MasterKeyError) -> R
    ) async throws(MasterKeyError) -> R {
        guard let lock = try await lock(tenant) else {
            throw MasterKeyError(
                .operationUnderWay, "another process is changing the envelope of tenant \(tenant) at this moment",
                advice: "let it finish, and see `custody-mek status \(tenant)`")
        }
        do throws(MasterKeyError) {
            let result = try await body()
            await lock.release()
            return result
        } catch {
            await lock.release()
            throw error
        }
    }
}
