import Foundation
import GRDB
import MasterKey
import Synchronization

/// Executes statements in an SQLite file, with one connection on a thread of its own.
final class SQLiteDriver: SQLDriver {
    let dialect = Dialect(
        bytes: "BLOB", name: "TEXT",
        hasSchema: "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'custody_schema'",
        // Its transactions that write are immediate: there is one at a time.
        migrationGuard: nil)

    private let file: DatabaseFile
    private let patience: Duration
    private let threads = BlockingThreads(1)
    private let current = Mutex<SQLiteConnection?>(nil)

    init(path: String, patience: Duration) {
        file = DatabaseFile(path: path)
        self.patience = patience
    }

    /// The open database. If the path stands for another file by now it is opened anew: what is written to a file that was
    /// moved away or deleted is lost.
    private func connection() throws(MasterKeyError) -> SQLiteConnection {
        let identity = try file.identity()
        if let open = current.withLock({ $0 }), open.identity == identity { return open }
        let open = SQLiteConnection(try openQueue(), identity: identity)
        current.withLock { $0 = open }
        return open
    }

    private func openQueue() throws(MasterKeyError) -> DatabaseQueue {
        var configuration = Configuration()
        configuration.foreignKeysEnabled = true
        configuration.busyMode = .timeout(patience / .seconds(1))
        configuration.prepareDatabase { database in
            // What was committed survives a power cut, in a WAL too.
            try database.execute(sql: "PRAGMA synchronous = FULL")
            // What is replaced is overwritten, not just forgotten.
            try database.execute(sql: "PRAGMA secure_delete = ON")
            try database.execute(sql: "PRAGMA temp_store = MEMORY")
        }
        do { return try DatabaseQueue(path: file.path, configuration: configuration) } catch {
            throw MasterKeyError(sqlite: error, file)
        }
    }

    func transaction<R: Sendable>(
        _ access: Access, _ body: @escaping @Sendable (any SQLSession) throws(MasterKeyError) -> R
    ) async throws(MasterKeyError) -> R {
        try await threads.run { () throws(MasterKeyError) in
            try self.withDatabase { database, connection in
                var result: R?
                // Immediate, so that nobody else can write between what is read here and what is written then.
                try database.inTransaction(access == .writing ? .immediate : .deferred) {
                    result = try body(SQLiteSession(database: database, connection: connection, file: self.file))
                    return .commit
                }
                guard let result else { throw MasterKeyError(.databaseUnavailable, "\(self.file.path): no transaction was made") }
                return result
            }
        }
    }

    /// Lends the database outside of a transaction.
    private func withDatabase<R>(_ body: (Database, SQLiteConnection) throws -> R) throws(MasterKeyError) -> R {
        let connection = try connection()
        do {
            return try connection.queue.writeWithoutTransaction { try body($0, connection) }
        } catch {
            throw MasterKeyError(sqlite: error, file)
        }
    }

    func create() async throws(MasterKeyError) {
        try await threads.run { () throws(MasterKeyError) in
            try self.file.create()
            // An empty one is new as well: whoever made it did not get further.
            guard self.file.isEmpty else { return }
            // With a write-ahead log readers and a writer don't wait for each other. It stays so for every later connection.
            try self.withDatabase { database, _ in try database.execute(sql: "PRAGMA journal_mode = WAL") }
        }
    }

    func lock(_ key: Int64) async throws(MasterKeyError) -> (any TenantLock)? {
        try await threads.run { () throws(MasterKeyError) in
            try FileLock.take(byte: key, of: try self.file.realPath() + ".lock")
        }
    }

    /// Writes the whole file anew and empties the write-ahead log. What the file system keeps of deleted journals and of
    /// blocks that were overwritten is beyond SQLite's reach, and so are backups.
    func scrub(_ table: String) async throws(MasterKeyError) {
        try await threads.run { () throws(MasterKeyError) in
            try self.withDatabase { database, _ in
                // Pages that were split or merged may hold copies of cells in their unused part, in spite of secure_delete.
                try database.execute(sql: "VACUUM")
                let busy = try Int.fetchOne(database, sql: "PRAGMA wal_checkpoint(TRUNCATE)") ?? 0
                guard busy == 0 else {
                    throw MasterKeyError(
                        .databaseBusy, "somebody reads \(self.file.path), so that its write-ahead log can't be emptied",
                        advice: "try again")
                }
            }
        }
    }

    func close() async {
        await threads.close()
        try? current.withLock { $0.take() }?.queue.close()
    }
}
