import Foundation
import MasterKey
import PostgreSQL
import Synchronization

/// Executes statements on a PostgreSQL server, by a few connections that are made when they are needed.
///
/// A connection that is lost is made anew, once, if nothing of the transaction can have been committed. A server that does not
/// answer is not asked again. Locks need a session: a pooler between here and the server must not share one between
/// transactions.
final class PostgreSQLDriver: SQLDriver {
    let dialect = Dialect(
        bytes: "BYTEA", name: "TEXT COLLATE \"C\"",
        hasSchema: "SELECT CASE WHEN to_regclass('custody_schema') IS NULL THEN 0 ELSE 1 END",
        migrationGuard: PostgreSQLSession.migrationGuard)

    private let settings: ConnectionSettings
    private let patience: Duration
    private let limit: Duration?
    /// As many as there may be connections, besides those of locks.
    private let threads: BlockingThreads
    private let idle = Mutex<[PostgreSQLSession]>([])

    /// - Parameters:
    ///   - patience: How long a statement waits for a lock of somebody else's.
    ///   - limit: How long a statement may take, but those of a migration and VACUUM; nil for as long as it takes.
    init(_ settings: ConnectionSettings, patience: Duration, limit: Duration? = .seconds(30), connections: Int = 4) {
        self.settings = settings
        self.patience = patience
        self.limit = limit
        threads = BlockingThreads(connections)
    }

    // MARK: Transactions

    /// What became of an attempt.
    private enum Outcome<R: Sendable>: Sendable {
        case done(R)
        case failed(MasterKeyError)
        /// Nothing was committed.
        case conflict(MasterKeyError)
        case lost(MasterKeyError)
    }

    func transaction<R: Sendable>(
        _ access: Access, _ body: @escaping @Sendable (any SQLSession) throws(MasterKeyError) -> R
    ) async throws(MasterKeyError) -> R {
        var conflicts = 0
        var isRenewed = false
        while true {
            let outcome = try await threads.run { () throws(MasterKeyError) in try self.attempt(access, body) }
            switch outcome {
            case .done(let result): return result
            case .failed(let error): throw error
            case .conflict(let error):
                conflicts += 1
                guard conflicts < 5 else { throw error }
                // So that those who met don't meet again. A cancelled task does not wait, which does no harm.
                try? await Task.sleep(for: .milliseconds(Int.random(in: 1...(20 << conflicts))))
            case .lost(let error):
                guard !isRenewed else { throw error }
                isRenewed = true
            }
        }
    }

    private func attempt<R: Sendable>(
        _ access: Access, _ body: (any SQLSession) throws(MasterKeyError) -> R
    ) throws(MasterKeyError) -> Outcome<R> {
        let session: PostgreSQLSession
        if let idle = idle.withLock({ $0.popLast() }) { session = idle } else { session = try connect() }
        let result: R
        do throws(MasterKeyError) {
            let mode = access == .reading ? "REPEATABLE READ READ ONLY" : "READ COMMITTED READ WRITE"
            try session.begin(mode)
            result = try body(session)
        } catch {
            return giveUp(session, error)
        }
        do throws(MasterKeyError) {
            let tag = try session.run("COMMIT").tag
            keep(session)
            guard tag == "COMMIT" else {
                return .failed(MasterKeyError(.databaseUnavailable, "PostgreSQL rolled the transaction back: \(tag)"))
            }
            return .done(result)
        } catch {
            guard access == .writing, isLost(session, error) else { return giveUp(session, error) }
            drop()
            return .failed(
                MasterKeyError(
                    .databaseUnavailable, "the connection was lost during COMMIT: \(error.message)",
                    state: "the change may have been made or not", advice: "look at the row before going on", cause: error.cause))
        }
    }

    private func giveUp<R: Sendable>(_ session: PostgreSQLSession, _ error: MasterKeyError) -> Outcome<R> {
        if isLost(session, error) {
            drop()
            // The caller has waited long enough: a server that stands still would have it wait as long again.
            return error.hasTimedOut ? .failed(error) : .lost(error)
        }
        // A connection on which not even this works is of no use; the server rolls back when it is closed.
        if (try? session.run("ROLLBACK")) != nil { keep(session) }
        return error.isConflict ? .conflict(error) : .failed(error)
    }

    // MARK: Connections

    private func connect() throws(MasterKeyError) -> PostgreSQLSession {
        try PostgreSQLSession(settings, patience: patience, limit: limit)
    }

    private func isLost(_ session: PostgreSQLSession, _ error: MasterKeyError) -> Bool {
        session.isLost || error.isConnectionLost
    }

    private func keep(_ session: PostgreSQLSession) { idle.withLock { $0.append(session) } }

    /// Where one connection was lost the idle ones most likely are as well.
    private func drop() { idle.withLock { $0.removeAll() } }

    func close() async {
        await threads.close()
        drop()
    }

    // MARK: The rest

    /// Databases are made by whoever administers the server.
    func create() async throws(MasterKeyError) {}

    func lock(_ key: Int64) async throws(MasterKeyError) -> (any TenantLock)? {
        try await threads.run { () throws(MasterKeyError) in
            let session = try self.connect()
            guard case .integer(1)? = try session.run("SELECT pg_try_advisory_lock($1)", .integer(key)).rows.first?.first else {
                return nil
            }
            return AdvisoryLock(session, key: key, threads: self.threads)
        }
    }

    /// Writes the table to a new file; the old one is emptied at once and deleted with the server's next checkpoint. The
    /// server's write-ahead log, its archive, replicas and backups keep what was in them: no client can change that.
    ///
    /// - Throws: `database-denied` for a role that does not own the table, `database-busy` if somebody uses it or still sees
    ///   an older state.
    func scrub(_ table: String) async throws(MasterKeyError) {
        try await threads.run { () throws(MasterKeyError) in
            // Whoever waits for the whole table holds up everybody who comes after: for a moment only, and rarely.
            let patience = min(self.patience, .seconds(1))
            let session = try PostgreSQLSession(self.settings, patience: patience, limit: self.limit)
            // An older transaction is mostly over in a moment: it may be a session of anybody's that is just beginning.
            for pause in Self.scrubPauses {
                if try Self.rewrite(table, session) { return }
                Thread.sleep(forTimeInterval: pause)
            }
            guard try Self.rewrite(table, session) else {
                throw MasterKeyError(
                    .databaseBusy, "PostgreSQL: an older transaction still sees what was replaced in \(table)",
                    advice: "try again when it has ended")
            }
        }
    }

    private static let scrubPauses = [0.3]

    /// - Returns: Whether nothing but the present rows is left.
    private static func rewrite(_ table: String, _ session: PostgreSQLSession) throws(MasterKeyError) -> Bool {
        let before = try file(of: table, session)
        let said = try session.run("VACUUM (FULL, VERBOSE) \(table)", [], within: nil).details
        // For want of permission it only warns and goes on.
        guard try file(of: table, session) != before else {
            throw MasterKeyError(
                .databaseDenied, "PostgreSQL: this role may not VACUUM \(table)", advice: "scrub as the table's owner")
        }
        // Rows that an older transaction can see are copied with the others. Only the server's own report says so: the first
        // number in it, in whatever language, is that of "dead row versions" that "cannot be removed yet".
        return !said.isEmpty && said.allSatisfy { Int($0.drop { !$0.isNumber }.prefix { $0.isNumber }) == 0 }
    }

    private static func file(of table: String, _ session: PostgreSQLSession) throws(MasterKeyError) -> SQLValue? {
        try session.run("SELECT pg_relation_filenode($1::regclass)", .text(table)).rows.first?.first
    }
}
