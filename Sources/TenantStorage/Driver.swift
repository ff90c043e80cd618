import MasterKey
import PostgreSQL

/// PostgreSQL's values serve for both: SQLite's are the same four, and numbers with a fraction, which no table here has.
typealias SQLValue = PostgreSQL.Value
typealias SQLResult = PostgreSQL.QueryResult

/// What a transaction is for.
enum Access: Sendable {
    /// All statements see the same state.
    case reading
    case writing
}

/// What the databases call differently.
struct Dialect: Sendable {
    /// The type of bytes.
    let bytes: String
    /// The type of a text that is compared and sorted by its bytes.
    let name: String
    /// A query for whether there is a table `custody_schema`: one row with an integer.
    let hasSchema: String
    /// Run first in a migration, to have no other beside it; nil if the transaction itself sees to that.
    let migrationGuard: String?
}

/// A connection in a transaction. Blocks; used by one thread at a time.
protocol SQLSession {
    /// Whether the schema's version was found right by an earlier transaction of this connection.
    var isSchemaKnown: Bool { get nonmutating set }

    /// Runs one statement. Its parameters are `$1`, `$2` and so on, which must appear in this order: SQLite numbers them so.
    func run(_ sql: String, _ parameters: [SQLValue]) throws(MasterKeyError) -> SQLResult
}

extension SQLSession {
    @discardableResult
    func run(_ sql: String, _ parameters: SQLValue...) throws(MasterKeyError) -> SQLResult { try run(sql, parameters) }
}

/// What executes the statements. Errors have the codes `database-...` and `schema-...`.
protocol SQLDriver: Sendable {
    var dialect: Dialect { get }

    /// Runs a transaction; it is durable when this returns. It is rolled back if the body throws.
    ///
    /// - Parameter body: May run again, after everything that it did was rolled back.
    func transaction<R: Sendable>(
        _ access: Access, _ body: @escaping @Sendable (any SQLSession) throws(MasterKeyError) -> R
    ) async throws(MasterKeyError) -> R

    /// Makes the database itself, if that is a client's business.
    func create() async throws(MasterKeyError)

    /// Takes a lock that this number names in the database.
    ///
    /// - Returns: nil if somebody has it.
    func lock(_ key: Int64) async throws(MasterKeyError) -> (any TenantLock)?

    /// Rewrites a table's file without what its rows no longer hold.
    func scrub(_ table: String) async throws(MasterKeyError)

    func close() async
}
