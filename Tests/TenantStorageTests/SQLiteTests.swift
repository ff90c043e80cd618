import Foundation
import MasterKey
import PostgreSQL
import TestSupport
import Testing

@testable import TenantStorage

@Suite struct SQLiteTests {
    private func mode(_ path: String) throws -> Int? {
        try (FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? NSNumber)?.intValue
    }

    /// Whether one of the database's files holds these bytes.
    private func filesContain(_ bytes: [UInt8], _ store: Store) throws -> Bool {
        try FileManager.default.contentsOfDirectory(atPath: store.folder).contains {
            try Data(contentsOf: URL(fileURLWithPath: "\(store.folder)/\($0)")).range(of: Data(bytes)) != nil
        }
    }

    @Test func newFilesAreTheOwnersAlone() async throws {
        let store = try await Store(.sqlite, migrated: false)
        let database = try store.open()
        _ = try await database.migrate()
        try await database.insert(try record("a"))
        await (try #require(try await database.lock(TenantName("a")))).release()
        let names = try FileManager.default.contentsOfDirectory(atPath: store.folder).sorted()
        #expect(names == ["tenants.db", "tenants.db-shm", "tenants.db-wal", "tenants.db.lock"])
        for name in names { #expect(try mode("\(store.folder)/\(name)") == 0o600) }
        #expect(try await store.sql("PRAGMA journal_mode") == "wal")
        await database.close()
    }

    @Test func anExistingFileStaysAsItIs() async throws {
        let store = try await Store(.sqlite, migrated: false)
        try await store.sql("CREATE TABLE other (x)")
        #expect(chmod(store.path, 0o640) == 0)
        let database = try store.open()
        _ = try await database.migrate()
        await database.close()
        #expect(try mode(store.path) == 0o640)
        #expect(try await store.sql("PRAGMA journal_mode") == "delete")
    }

    @Test func aConnectionIsSetUpToLoseNothing() async throws {
        let store = try await Store(.sqlite)
        let database = try store.open()
        for (pragma, value) in [("synchronous", 2), ("secure_delete", 1), ("foreign_keys", 1)] as [(String, Int64)] {
            let rows = try await database.driver.transaction(.reading) { session throws(MasterKeyError) in
                try session.run("PRAGMA \(pragma)").rows
            }
            #expect(rows == [[.integer(value)]])
        }
        await database.close()
    }

    @Test(arguments: ["wal", "delete", "persist"]) func nothingReplacedIsLeft(_ journal: String) async throws {
        let store = try await Store(.sqlite)
        try await store.sql("PRAGMA journal_mode = \(journal)")
        let old = (0..<3_000).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 5) }
        let (start, middle) = (Array(old.prefix(48)), Array(old[1_500..<1_548]))
        let database = try store.open()
        for number in 0..<50 { try await database.insert(try record("t\(number)", blob: old)) }
        #expect(try filesContain(start, store) && filesContain(middle, store))
        for name in try await database.tenants(after: nil, limit: 100) {
            var new = try await database.existingRecord(of: name)
            new.blob = Array(repeating: 1, count: 10)
            try await database.replace(new, recording: nil)
        }
        // Somebody else's journal, which stays beside the file, and pages that were not overwritten.
        try await store.sql("PRAGMA journal_mode = \(journal); PRAGMA secure_delete = OFF; INSERT INTO custody_tenant (tenant, master_key_id, root_key, root_key_version, blob, kms_key, kms_context, revision, created_at, changed_at, last_opened_at) SELECT 'x', master_key_id, NULL, NULL, \(store.literal(old)), kms_key, kms_context, 1, 0, 0, NULL FROM custody_tenant LIMIT 1; DELETE FROM custody_tenant WHERE tenant = 'x'")
        #expect(try filesContain(middle, store))
        try await database.scrub()
        #expect(try !filesContain(start, store) && !filesContain(middle, store))
        await database.close()
        #expect(try !filesContain(start, store) && !filesContain(middle, store))
    }

    @Test func aReaderKeepsTheLogBusy() async throws {
        let store = try await Store(.sqlite)
        let database = try store.open(patience: .milliseconds(100))
        try await database.insert(try record("a"))
        let script = """
            import sqlite3, sys, time
            database = sqlite3.connect(sys.argv[1], isolation_level=None)
            database.execute("BEGIN")
            database.execute("SELECT * FROM custody_tenant").fetchall()
            print("holding", flush=True)
            time.sleep(600)
            """
        let reader = try ChildProcess("python3", arguments: ["-c", script, store.path])
        try await reader.line(containing: "holding")
        #expect(await code { try await database.scrub() } == .databaseBusy)
        reader.signal(SIGKILL)
        try await reader.end()
        #expect(await code { try await database.scrub() } == nil)
        await database.close()
    }

    @Test func whatIsNoDatabaseIsSaidSo() async throws {
        let store = try await Store(.sqlite, migrated: false)
        try Data(repeating: 65, count: 5_000).write(to: URL(fileURLWithPath: store.path))
        let database = try store.open()
        let error = try #require(await #expect(throws: MasterKeyError.self) { try await database.record(of: TenantName("a")) })
        #expect(error.code == .databaseUnavailable && error.message.contains("no SQLite database"))
        await database.close()
        for path in ["\(store.folder)/none/t.db", store.folder] {
            let database = try TenantDatabases.open("sqlite:\(path)")
            #expect(await code { try await database.record(of: TenantName("a")) } == .databaseUnavailable)
            #expect(await code { try await database.migrate() } == .databaseUnavailable)
            await database.close()
        }
    }

    @Test func aFileThatWasMovedAwayIsNotWrittenTo() async throws {
        let store = try await Store(.sqlite)
        let database = try store.open()
        let row = try record("a")
        try await database.insert(row)
        try FileManager.default.moveItem(atPath: store.folder, toPath: store.folder + ".away")
        defer { try? FileManager.default.removeItem(atPath: store.folder + ".away") }
        #expect(await code { try await database.noteOpening(of: row.tenant, at: moment()) } == .databaseUnavailable)
        try FileManager.default.createDirectory(atPath: store.folder, withIntermediateDirectories: false)
        _ = try await database.migrate()
        #expect(try await database.record(of: row.tenant) == nil)
        await database.close()
    }

    /// In another process, since this one may be root, whom no mode keeps out.
    @Test(arguments: ["delete", "wal"]) func aFileThatMayNotBeWrittenIsDenied(_ journal: String) async throws {
        let store = try await Store(.sqlite)
        let database = try store.open()
        try await database.insert(try record("a"))
        await database.close()
        try await store.sql("PRAGMA journal_mode = \(journal)")
        let powerless = geteuid() == 0 ? ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] : []
        #expect(try await store.process("note", "a", under: powerless).end().output == "ok\n")
        #expect(chmod(store.path, 0o400) == 0)
        #expect(try await store.process("note", "a", under: powerless).end().output == "database-denied\n")
        #expect(chmod(store.path, 0) == 0)
        #expect(try await store.process("note", "a", under: powerless).end().output == "database-denied\n")
        #expect(chmod(store.path, 0o600) == 0 && chmod(store.folder, 0o500) == 0)
        #expect(try await store.process("note", "a", under: powerless).end().output == "database-denied\n")
        #expect(chmod(store.folder, 0o700) == 0)
    }
}
