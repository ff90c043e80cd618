import MasterKey
import PostgreSQL
import Synchronization

/// A connection to PostgreSQL, set up for what it is used for here.
final class PostgreSQLSession: SQLSession, Sendable {
    private let connection: Mutex<Connection>
    private let schemaKnown = Atomic(false)
    private let limit: Duration?
    /// Whether the transaction is a migration, which takes as long as it takes.
    private let isMigrating = Atomic(false)

    /// Run first in a migration, see ``Dialect/migrationGuard``.
    static let migrationGuard = "SELECT pg_advisory_xact_lock($1)"

    /// Connects.
    ///
    /// - Parameters:
    ///   - patience: How long a statement waits for a lock of somebody else's.
    ///   - limit: How long a statement may take with all that; nil for as long as it takes.
    /// - Throws: `database-denied` also for a server in recovery.
    init(_ settings: ConnectionSettings, patience: Duration, limit: Duration?) throws(MasterKeyError) {
        self.limit = limit
        var isVerified = false
        do throws(PostgreSQLError) {
            var settings = settings
            try settings.add(defaults: Self.defaults)
            isVerified = try settings.demandVerifiedServer()
            connection = Mutex(try Connection(settings))
        } catch {
            var failure = MasterKeyError(postgreSQL: error)
            let isAboutTLS = error.message.contains("SSL") || error.message.contains("certificate")
            if isVerified, isAboutTLS { failure.advice = ConnectionSettings.advice }
            throw failure
        }
        let first = try run(
            "SELECT pg_is_in_recovery(), set_config('lock_timeout', $1, false), set_config('client_encoding', 'UTF8', false)",
            .text("\(Int64(patience / .milliseconds(1)))ms"))
        // Its locks keep nobody out who uses the primary, and what it shows may be out of date.
        guard case .integer(0)? = first.rows.first?.first else {
            throw MasterKeyError(.databaseDenied, "PostgreSQL: the server is in recovery, a standby", advice: Self.primaryAdvice)
        }
        // What was committed survives a crash of the server, whatever its default is; remote_apply is more than that.
        try run(
            """
            SELECT set_config('synchronous_commit', 'on', false)
            WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')
            """)
        for (name, value) in Self.wishes {
            // Not every server has each of them or can do what it asks for.
            try attempt("SELECT set_config(name, $1, false) FROM pg_settings WHERE name = $2", .text(value), .text(name))
        }
    }

    static let primaryAdvice = "connect to the primary server (target_session_attrs=read-write)"

    /// libpq's settings, where nobody says otherwise.
    private static let defaults = [
        "fallback_application_name": "custody-mek", "connect_timeout": "5",
        // A server that vanished is noticed within half a minute.
        "keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3", "tcp_user_timeout": "25000",
    ]

    /// The server's settings for the session.
    private static let wishes = [
        // It notices that a client is gone: what the client waited for must not be done when nobody expects it any more, and
        // its locks become free.
        ("client_connection_check_interval", "1s"),
        ("tcp_keepalives_idle", "10"), ("tcp_keepalives_interval", "5"), ("tcp_keepalives_count", "3"),
        // A lock is held by an idle session.
        ("idle_session_timeout", "0"),
    ]

    var isSchemaKnown: Bool {
        get { schemaKnown.load(ordering: .relaxed) }
        set { schemaKnown.store(newValue, ordering: .relaxed) }
    }

    var isLost: Bool { connection.withLock { $0.isLost } }

    /// Begins a transaction.
    func begin(_ mode: String) throws(MasterKeyError) {
        isMigrating.store(false, ordering: .relaxed)
        try run("BEGIN ISOLATION LEVEL \(mode)")
    }

    func run(_ sql: String, _ parameters: [SQLValue]) throws(MasterKeyError) -> SQLResult {
        if sql == Self.migrationGuard { isMigrating.store(true, ordering: .relaxed) }
        return try run(sql, parameters, within: isMigrating.load(ordering: .relaxed) ? nil : limit)
    }

    /// - Parameter limit: How long it may take, in place of the session's own limit.
    func run(_ sql: String, _ parameters: [SQLValue], within limit: Duration?) throws(MasterKeyError) -> SQLResult {
        do throws(PostgreSQLError) {
            return try connection.withLock { connection throws(PostgreSQLError) in
                try connection.query(sql, parameters, within: limit)
            }
        } catch {
            throw MasterKeyError(postgreSQL: error)
        }
    }

    /// Runs a statement that may fail.
    private func attempt(_ sql: String, _ parameters: SQLValue...) throws(MasterKeyError) {
        do throws(MasterKeyError) {
            _ = try run(sql, parameters)
        } catch where !error.isConnectionLost {
            return
        }
    }
}

extension MasterKeyError {
    private var postgreSQLError: PostgreSQLError? { cause as? PostgreSQLError }

    var isConnectionLost: Bool { postgreSQLError?.isConnectionLost == true }
    var hasTimedOut: Bool { postgreSQLError?.hasTimedOut == true }

    /// The server gave this transaction up for the sake of another: it may succeed when it is run again.
    var isConflict: Bool { ["40001", "40P01"].contains(postgreSQLError?.sqlState) }

    init(postgreSQL error: PostgreSQLError) {
        let state = error.sqlState ?? ""
        let text = "PostgreSQL: \(error)"
        switch state {
        case "42501":
            self.init(.databaseDenied, text, advice: "grant this role what it needs", cause: error)
        case "25006":
            self.init(
                .databaseDenied, text, advice: PostgreSQLSession.primaryAdvice, cause: error)
        case "55P03", "40P01", "40001":
            self.init(.databaseBusy, text, advice: "try again", cause: error)
        case "42P01":
            self = Schema.missing()
            cause = error
        case "42703":
            self.init(.schemaUnknown, text, cause: error)
        case _ where state.hasPrefix("28"):
            self.init(
                .databaseDenied, text, advice: "check the role, pg_hba.conf, and the password in ~/.pgpass", cause: error)
        case _ where error.hasTimedOut:
            self.init(.databaseUnavailable, text, advice: "see whether the server still answers others, then try again", cause: error)
        default:
            self.init(.databaseUnavailable, text, cause: error)
        }
    }
}
