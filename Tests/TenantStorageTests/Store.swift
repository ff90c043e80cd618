import Foundation
import MasterKey
import TestSupport

@testable import TenantStorage

/// The databases that every test of the conformance suite runs on.
enum Kind: String, CaseIterable, Sendable {
    case sqlite, postgresql
}

/// An empty database of one test's own.
final class Store: Sendable {
    let kind: Kind
    let address: String
    private let directory: TemporaryDirectory
    /// nil for SQLite.
    private let server: (cluster: PostgreSQLCluster, database: String)?

    /// - Parameter cluster: nil for the one that the tests share.
    init(_ kind: Kind, migrated: Bool = true, on cluster: PostgreSQLCluster? = nil) async throws {
        self.kind = kind
        directory = try TemporaryDirectory()
        switch kind {
        case .sqlite:
            server = nil
            address = "sqlite:\(directory.file("tenants.db"))"
        case .postgresql:
            let used: PostgreSQLCluster
            if let cluster { used = cluster } else { used = try await .shared() }
            let database = try await used.makeDatabase()
            server = (used, database)
            address = used.address(of: database)
        }
        if migrated {
            let database = try open()
            _ = try await database.migrate()
            await database.close()
        }
    }

    var folder: String { directory.path }
    var path: String { directory.file("tenants.db") }

    func open(patience: Duration = .seconds(5)) throws -> SQLTenantDatabase {
        try TenantDatabases.open(address, patience: patience)
    }

    /// Runs statements behind the back of what is tested, and returns what they printed.
    @discardableResult
    func sql(_ statement: String) async throws -> String {
        if let server { return try await server.cluster.psql(statement, database: server.database) }
        let result = try await run("sqlite3", arguments: ["-cmd", ".timeout 5000", path, statement])
        guard result.status == .exited(0) else { throw UnexpectedResult(result) }
        return result.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// Another session, in the middle of a transaction that has done this.
    func session(in statement: String) async throws -> ChildProcess {
        let child: ChildProcess
        if let server {
            let script = """
                SET client_connection_check_interval = '50ms';
                BEGIN;
                \(statement);
                \\echo holding
                SELECT pg_sleep(600);

                """
            child = try server.cluster.session(script, database: server.database)
        } else {
            let script = """
                import sqlite3, sys, time
                database = sqlite3.connect(sys.argv[1], isolation_level=None)
                database.execute("BEGIN IMMEDIATE")
                database.execute(sys.argv[2]).fetchall()
                print("holding", flush=True)
                time.sleep(600)
                """
            child = try ChildProcess("python3", arguments: ["-c", script, path, statement])
        }
        try await child.line(containing: "holding")
        return child
    }

    /// Another process with this package's own code.
    func process(_ arguments: String..., under command: [String] = []) throws -> ChildProcess {
        let program = Products.directory + "/custody-tenant-holder"
        let all = command + [program, address] + arguments
        return try ChildProcess(all[0], arguments: Array(all.dropFirst()))
    }

    /// Bytes as a literal.
    func literal(_ bytes: [UInt8]) -> String {
        let digits = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        return kind == .sqlite ? "x'\(digits)'" : "'\\x\(digits)'"
    }
}

/// A moment that is not a whole second.
func moment(_ offset: Double = 0) -> Date { Date(timeIntervalSince1970: 1_800_000_000.123 + offset) }

func record(
    _ tenant: String, blob: [UInt8] = [1, 2, 0, 255], kmsKey: String = "key-1", layers: EnvelopeLayers = .kms
) throws -> TenantRecord {
    TenantRecord(
        tenant: try TenantName(tenant), masterKeyID: Identifier(), layers: layers, blob: blob, kmsKey: KMSKeyID(rawValue: kmsKey),
        kmsContext: ["tenant": tenant, "a/b": "\"ü\u{0}\n"], generation: 3, tag: [0, 255], createdAt: moment(), changedAt: moment(1))
}

func operation(
    _ tenant: TenantName, _ kind: OperationRecord.Kind = .enable, at date: Date = moment()
) -> OperationRecord {
    OperationRecord(
        tenant: tenant, kind: kind, baseRevision: 1, oldKey: KMSKeyID(rawValue: "old"), rootKey: "root", deletionDays: 30,
        startedAt: date, changedAt: date)
}

/// The code of the error that the body throws; nil if it throws none.
func code<R>(_ body: () async throws -> R) async -> MasterKeyError.Code? {
    do {
        _ = try await body()
        return nil
    } catch {
        return (error as? MasterKeyError)?.code
    }
}
