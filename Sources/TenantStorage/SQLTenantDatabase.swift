import Foundation
import MasterKey
import PostgreSQL

/// A tenant database in SQL: one schema and one set of statements, whatever executes them.
final class SQLTenantDatabase: TenantDatabase {
    let name: String
    let identity: String
    let driver: any SQLDriver

    /// - Parameter identity: nil if the name says it.
    init(name: String, identity: String? = nil, driver: any SQLDriver) {
        self.name = name
        self.identity = identity ?? name
        self.driver = driver
    }

    func transaction<R: Sendable>(
        _ access: Access, _ body: @escaping @Sendable (any SQLSession) throws(MasterKeyError) -> R
    ) async throws(MasterKeyError) -> R {
        let dialect = driver.dialect
        return try await driver.transaction(access) { session throws(MasterKeyError) in
            try Schema.check(session, dialect)
            return try body(session)
        }
    }

    func migrate() async throws(MasterKeyError) -> (from: Int, to: Int) {
        try await driver.create()
        let dialect = driver.dialect
        var first: Int?
        while true {
            let found = try await driver.transaction(.writing) { session throws(MasterKeyError) in
                try Schema.migrate(session, dialect)
            }
            if found == Schema.version { return (first ?? found, found) }
            first = first ?? found
        }
    }

    func lock(_ tenant: TenantName) async throws(MasterKeyError) -> (any TenantLock)? {
        // A lock in a database that nobody uses would keep nobody out.
        try await transaction(.reading) { _ in }
        return try await driver.lock(LockKey.tenant(tenant))
    }

    func scrub() async throws(MasterKeyError) {
        try await transaction(.reading) { _ in }
        for table in Schema.tablesWithCiphertext { try await driver.scrub(table) }
    }

    func close() async { await driver.close() }
}

// MARK: Tenants

extension SQLTenantDatabase {
    private static let selection = TenantRow.columns.joined(separator: ", ")

    func record(of tenant: TenantName) async throws(MasterKeyError) -> TenantRecord? {
        try await transaction(.reading) { session throws(MasterKeyError) in
            let found = try session.run("SELECT \(Self.selection) FROM custody_tenant WHERE tenant = $1", SQLValue(tenant))
            guard let row = found.rows.first else { return nil }
            return try TenantRow.read(row)
        }
    }

    func tenants(after tenant: TenantName?, limit: Int) async throws(MasterKeyError) -> [TenantName] {
        try await transaction(.reading) { session throws(MasterKeyError) in
            // No name is as small as the empty one.
            var after = SQLValue.text(tenant?.description ?? "")
            while true {
                let rows = try session.run(
                    "SELECT tenant FROM custody_tenant WHERE tenant > $1 ORDER BY tenant LIMIT $2", [after, .integer(Int64(max(0, limit)))]
                ).rows
                // A page of damaged names only is not the end.
                let names = rows.compactMap { try? RowReader($0, columns: ["tenant"]).tenant("tenant") }
                guard names.isEmpty, let last = rows.last?.first else { return names }
                after = last
            }
        }
    }

    func rowsWithoutName() async throws(MasterKeyError) -> [MasterKeyError] {
        try await transaction(.reading) { session throws(MasterKeyError) in
            var damaged: [MasterKeyError] = []
            for row in try session.run("SELECT tenant FROM custody_tenant", []).rows {
                do throws(MasterKeyError) { _ = try RowReader(row, columns: ["tenant"]).tenant("tenant") } catch { damaged.append(error) }
            }
            return damaged
        }
    }

    func tenants(under key: KMSKeyID) async throws(MasterKeyError) -> [TenantName] {
        try await names("SELECT tenant FROM custody_tenant WHERE kms_key = $1 ORDER BY tenant LIMIT 100", SQLValue(key))
    }

    private func names(_ query: String, _ parameters: SQLValue...) async throws(MasterKeyError) -> [TenantName] {
        try await transaction(.reading) { session throws(MasterKeyError) in
            try Self.map(try session.run(query, parameters).rows) { row throws(MasterKeyError) in
                try RowReader(row, columns: ["tenant"]).tenant("tenant")
            }
        }
    }

    func insert(_ record: TenantRecord) async throws(MasterKeyError) {
        try await transaction(.writing) { session throws(MasterKeyError) in
            let done = try session.run(
                """
                INSERT INTO custody_tenant (\(Self.selection)) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
                ON CONFLICT (tenant) DO NOTHING
                """,
                [SQLValue(record.tenant), SQLValue(record.masterKeyID)] + TenantRow.values(of: record.layers) + [
                    .bytes(record.blob), SQLValue(record.kmsKey), .text(TenantRow.text(of: record.kmsContext)),
                    .integer(record.generation), SQLValue(record.tag), .integer(record.revision), SQLValue(record.createdAt),
                    SQLValue(record.changedAt), SQLValue(record.lastOpenedAt),
                ])
            guard done.affected == 1 else {
                throw MasterKeyError(.tenantExists, "tenant \(record.tenant) has a master key already")
            }
        }
    }

    func replace(_ record: TenantRecord, recording operation: OperationRecord?) async throws(MasterKeyError) {
        try await transaction(.writing) { session throws(MasterKeyError) in
            let done = try session.run(
                """
                UPDATE custody_tenant SET root_key = $1, root_key_version = $2, blob = $3, kms_key = $4, kms_context = $5,
                generation = $6, tag = $7, changed_at = $8, revision = revision + 1
                WHERE tenant = $9 AND revision = $10 AND master_key_id = $11
                """,
                TenantRow.values(of: record.layers) + [
                    .bytes(record.blob), SQLValue(record.kmsKey), .text(TenantRow.text(of: record.kmsContext)),
                    .integer(record.generation), SQLValue(record.tag), SQLValue(record.changedAt), SQLValue(record.tenant),
                    .integer(record.revision), SQLValue(record.masterKeyID),
                ])
            if done.affected == 0 {
                try Self.require(record.tenant, session)
                throw MasterKeyError(.rowChanged, "tenant \(record.tenant)'s row was changed by somebody else since it was read")
            }
            if let operation { try Self.write(operation, done: operation.step, session) }
        }
    }

    func noteOpening(of tenant: TenantName, at date: Date) async throws(MasterKeyError) {
        try await transaction(.writing) { session throws(MasterKeyError) in
            let done = try session.run(
                "UPDATE custody_tenant SET last_opened_at = $1 WHERE tenant = $2", SQLValue(date), SQLValue(tenant))
            if done.affected == 0 { try Self.require(tenant, session) }
        }
    }

    /// - Throws: `tenant-not-found` if there is no such row.
    static func require(_ tenant: TenantName, _ session: any SQLSession) throws(MasterKeyError) {
        let found = try session.run("SELECT 1 FROM custody_tenant WHERE tenant = $1", SQLValue(tenant))
        guard !found.rows.isEmpty else {
            throw MasterKeyError(.tenantNotFound, "the tenant database has no tenant \(tenant)")
        }
    }

    /// `map` rethrows any error only.
    static func map<R>(
        _ rows: [[SQLValue]], _ read: ([SQLValue]) throws(MasterKeyError) -> R
    ) throws(MasterKeyError) -> [R] {
        var all: [R] = []
        for row in rows { all.append(try read(row)) }
        return all
    }
}
