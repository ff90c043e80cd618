import Foundation
import GRDB
import MasterKey
import PostgreSQL
import Synchronization

/// An open SQLite database; its queue lets one thread at a time use it.
final class SQLiteConnection: Sendable {
    let queue: DatabaseQueue
    let identity: DatabaseFile.Identity
    let isSchemaKnown = Atomic(false)

    init(_ queue: DatabaseQueue, identity: DatabaseFile.Identity) {
        self.queue = queue
        self.identity = identity
    }
}

/// The database during a transaction.
struct SQLiteSession: SQLSession {
    let database: Database
    let connection: SQLiteConnection
    let file: DatabaseFile

    var isSchemaKnown: Bool {
        get { connection.isSchemaKnown.load(ordering: .relaxed) }
        nonmutating set { connection.isSchemaKnown.store(newValue, ordering: .relaxed) }
    }

    func run(_ sql: String, _ parameters: [SQLValue]) throws(MasterKeyError) -> SQLResult {
        do {
            let statement = try database.cachedStatement(sql: sql)
            let arguments = StatementArguments(parameters.map(\.databaseValue))
            guard statement.isReadonly else {
                try statement.execute(arguments: arguments)
                return SQLResult(rows: [], affected: database.changesCount)
            }
            let rows = try Row.fetchAll(statement, arguments: arguments).map { row in
                Array(row.databaseValues.map(SQLValue.init(sqlite:)))
            }
            return SQLResult(rows: rows, affected: rows.count)
        } catch {
            throw MasterKeyError(sqlite: error, file)
        }
    }
}

extension SQLValue {
    fileprivate var databaseValue: DatabaseValue {
        switch self {
        case .null: .null
        case .text(let text): text.databaseValue
        case .integer(let number): number.databaseValue
        case .bytes(let bytes): Data(bytes).databaseValue
        }
    }

    fileprivate init(sqlite value: DatabaseValue) {
        switch value.storage {
        case .null: self = .null
        case .int64(let number): self = .integer(number)
        case .string(let text): self = .text(text)
        case .blob(let data): self = .bytes(Array(data))
        // No column holds one: it is reported as what it is not.
        case .double(let number): self = .text("\(number)")
        }
    }
}

extension MasterKeyError {
    /// What SQLite threw, or the error itself if it is one already.
    init(sqlite error: any Error, _ file: DatabaseFile) {
        if let error = error as? MasterKeyError {
            self = error
            return
        }
        guard let error = error as? DatabaseError else {
            self.init(.databaseUnavailable, "\(file.path): \(error)", cause: error)
            return
        }
        let text = error.message ?? "error \(error.resultCode.rawValue)"
        let what = "\(file.path): \(text)"
        switch error.resultCode {
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            self.init(.databaseBusy, "\(file.path) is locked by somebody else", advice: "try again", cause: error)
        case .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_AUTH:
            self.init(.databaseDenied, what, advice: "check who owns the file and its folder, and their modes", cause: error)
        case .SQLITE_CANTOPEN where file.isForbidden:
            self.init(.databaseDenied, what, advice: "check who owns the file and its folder, and their modes", cause: error)
        case .SQLITE_NOTADB:
            self.init(.databaseUnavailable, "\(file.path) is no SQLite database, or it is damaged", cause: error)
        case .SQLITE_CORRUPT:
            self.init(
                .databaseUnavailable, "the SQLite database \(file.path) is damaged: \(text)", advice: "restore it from a backup",
                cause: error)
        case .SQLITE_ERROR where text.hasPrefix("no such table"): self = Schema.missing()
        default: self.init(.databaseUnavailable, what, cause: error)
        }
    }
}
