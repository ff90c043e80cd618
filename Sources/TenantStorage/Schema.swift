import MasterKey
import PostgreSQL

/// The tables, made and brought up to date by a list of migrations. A migration that was released is never changed.
enum Schema {
    /// The tables that hold ciphertexts.
    static let tablesWithCiphertext = ["custody_tenant"]

    static var version: Int { migrations(of: .init(bytes: "", name: "", hasSchema: "", migrationGuard: nil)).count }

    /// The statements that lead from each version to the next.
    static func migrations(of dialect: Dialect) -> [[String]] {
        [
            [
                "CREATE TABLE custody_schema (version BIGINT NOT NULL)",
                "INSERT INTO custody_schema (version) VALUES (0)",
                """
                CREATE TABLE custody_tenant (
                    tenant \(dialect.name) NOT NULL PRIMARY KEY,
                    master_key_id \(dialect.bytes) NOT NULL,
                    root_key TEXT,
                    root_key_version BIGINT,
                    blob \(dialect.bytes) NOT NULL,
                    kms_key TEXT NOT NULL,
                    kms_context TEXT NOT NULL,
                    revision BIGINT NOT NULL,
                    created_at BIGINT NOT NULL,
                    changed_at BIGINT NOT NULL,
                    last_opened_at BIGINT
                )
                """,
                "CREATE INDEX custody_tenant_kms_key ON custody_tenant (kms_key)",
                """
                CREATE TABLE custody_operation (
                    id \(dialect.bytes) NOT NULL PRIMARY KEY,
                    tenant \(dialect.name) NOT NULL REFERENCES custody_tenant (tenant),
                    number BIGINT NOT NULL,
                    version BIGINT NOT NULL,
                    kind TEXT NOT NULL,
                    state TEXT NOT NULL,
                    step BIGINT,
                    base_revision BIGINT NOT NULL,
                    old_key TEXT NOT NULL,
                    new_key TEXT,
                    lost_creations BIGINT NOT NULL,
                    lost_creation_at BIGINT,
                    root_key TEXT NOT NULL,
                    deletion_days BIGINT NOT NULL,
                    started_at BIGINT NOT NULL,
                    changed_at BIGINT NOT NULL,
                    UNIQUE (tenant, number)
                )
                """,
                // One change of a tenant at a time, whatever becomes of the locks.
                "CREATE UNIQUE INDEX custody_operation_unfinished ON custody_operation (tenant) WHERE state = 'unfinished'",
                """
                CREATE TABLE custody_operation_step (
                    operation \(dialect.bytes) NOT NULL REFERENCES custody_operation (id),
                    ordinal BIGINT NOT NULL,
                    step BIGINT NOT NULL,
                    at BIGINT NOT NULL,
                    PRIMARY KEY (operation, ordinal)
                )
                """,
            ],
            // Rows that are there have no tag: nobody but an operator vouches for them.
            [
                "ALTER TABLE custody_tenant ADD COLUMN generation BIGINT NOT NULL DEFAULT 0",
                "ALTER TABLE custody_tenant ADD COLUMN tag \(dialect.bytes)",
                "ALTER TABLE custody_operation ADD COLUMN retires_old_key BIGINT",
                "ALTER TABLE custody_operation ADD COLUMN tag \(dialect.bytes)",
            ],
        ]
    }

    /// The version of the tables that are there; 0 if there are none.
    static func version(_ session: any SQLSession, _ dialect: Dialect) throws(MasterKeyError) -> Int {
        guard case .integer(1...)? = try session.run(dialect.hasSchema).rows.first?.first else { return 0 }
        guard case .integer(let version)? = try session.run("SELECT MAX(version) FROM custody_schema").rows.first?.first else {
            return 0
        }
        return Int(version)
    }

    /// Makes sure, once per connection, that the tables are those that the statements were written for.
    ///
    /// - Throws: `schema-missing` or `schema-unknown`.
    static func check(_ session: any SQLSession, _ dialect: Dialect) throws(MasterKeyError) {
        guard !session.isSchemaKnown else { return }
        let found = try version(session, dialect)
        if found > version { throw unknown(found) }
        guard found == version else { throw missing(found) }
        session.isSchemaKnown = true
    }

    /// Makes one step, unless another process has made it by now.
    ///
    /// - Returns: The version that was found.
    static func migrate(_ session: any SQLSession, _ dialect: Dialect) throws(MasterKeyError) -> Int {
        if let guardStatement = dialect.migrationGuard { try session.run(guardStatement, .integer(LockKey.migration)) }
        let found = try version(session, dialect)
        if found > version { throw unknown(found) }
        guard found < version else { return found }
        for statement in migrations(of: dialect)[max(0, found)] { try session.run(statement) }
        try session.run("UPDATE custody_schema SET version = $1", .integer(Int64(found + 1)))
        return found
    }

    static func missing(_ found: Int = 0) -> MasterKeyError {
        let what = found == 0 ? "has no tables of Custody's" : "has tables of version \(found), this program needs \(version)"
        return MasterKeyError(.schemaMissing, "the tenant database \(what)", advice: "run `custody-mek migrate`")
    }

    private static func unknown(_ found: Int) -> MasterKeyError {
        MasterKeyError(
            .schemaUnknown, "the tenant database has tables of version \(found), this program knows up to \(version)",
            advice: "use the release that made them, or a newer one")
    }
}
