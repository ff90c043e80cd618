import Foundation
import MasterKey
import TestSupport
import Testing

@testable import TenantStorage

@Suite struct SchemaTests {
    @Test(arguments: Kind.allCases) func migrationIsDoneOnce(_ kind: Kind) async throws {
        let store = try await Store(kind, migrated: false)
        let database = try store.open()
        let missing: MasterKeyError.Code = kind == .sqlite ? .databaseUnavailable : .schemaMissing
        #expect(await code { try await database.record(of: TenantName("a")) } == missing)
        #expect(await code { try await database.lock(TenantName("a")) } == missing)
        #expect(await code { try await database.scrub() } == missing)
        if kind == .sqlite { #expect(try FileManager.default.contentsOfDirectory(atPath: store.folder).isEmpty) }
        let first = try await database.migrate()
        #expect(first.from == 0 && first.to == Schema.version)
        let second = try await database.migrate()
        #expect(second.from == Schema.version && second.to == Schema.version)
        #expect(try await database.record(of: TenantName("a")) == nil)
        await database.close()
    }

    @Test(arguments: Kind.allCases) func migrationsAtTheSameTimeAreOne(_ kind: Kind) async throws {
        let store = try await Store(kind, migrated: false)
        let children = try (0..<3).map { _ in try store.process("migrate") }
        let databases = try (0..<5).map { _ in try store.open(patience: .seconds(60)) }
        await withTaskGroup(of: Void.self) { group in
            for database in databases {
                group.addTask { #expect(await code { try await database.migrate() } == nil) }
            }
        }
        for child in children { #expect(try await child.end().output == "ok\n") }
        for database in databases {
            #expect(try await database.record(of: TenantName("a")) == nil)
            await database.close()
        }
        #expect(try await store.sql("SELECT version FROM custody_schema") == "\(Schema.version)")
    }

    @Test(arguments: Kind.allCases) func aNewerSchemaIsLeftAlone(_ kind: Kind) async throws {
        let store = try await Store(kind)
        try await store.sql("UPDATE custody_schema SET version = 99")
        let database = try store.open()
        #expect(await code { try await database.record(of: TenantName("a")) } == .schemaUnknown)
        #expect(await code { try await database.migrate() } == .schemaUnknown)
        #expect(try await store.sql("SELECT version FROM custody_schema") == "99")
        await database.close()
    }

    @Test(arguments: Kind.allCases) func tablesThatVanishAreMissing(_ kind: Kind) async throws {
        let store = try await Store(kind)
        let database = try store.open()
        #expect(try await database.record(of: TenantName("a")) == nil)
        for table in ["custody_operation_step", "custody_operation", "custody_tenant"] { try await store.sql("DROP TABLE \(table)") }
        #expect(await code { try await database.record(of: TenantName("a")) } == .schemaMissing)
        await database.close()
    }

    /// Rows and journal of the first release that had any.
    @Test(arguments: Kind.allCases) func aDatabaseOfBeforeLosesNothing(_ kind: Kind) async throws {
        let store = try await Store(kind, migrated: false)
        let database = try store.open()
        try await database.driver.create()
        let dialect = database.driver.dialect
        try await database.driver.transaction(.writing) { session throws(MasterKeyError) in
            for statement in Schema.migrations(of: dialect)[0] { try session.run(statement) }
            try session.run("UPDATE custody_schema SET version = 1")
        }
        let id = Identifier(), operationID = Identifier()
        try await store.sql(
            """
            INSERT INTO custody_tenant (tenant, master_key_id, root_key, root_key_version, blob, kms_key, kms_context, revision, created_at, changed_at)
            VALUES ('a', \(store.literal(id.bytes)), 'root', 3, \(store.literal([1, 2, 0])), 'key-1', '{"app":"x"}', 7, 1000, 2000)
            """)
        try await store.sql(
            """
            INSERT INTO custody_operation (id, tenant, number, version, kind, state, step, base_revision, old_key, new_key, lost_creations,
            root_key, deletion_days, started_at, changed_at)
            VALUES (\(store.literal(operationID.bytes)), 'a', 1, 4, 'enable', 'unfinished', 9, 6, 'key-0', 'key-1', 0, 'root', 9, 1000, 2000)
            """)
        #expect(await code { try await database.record(of: TenantName("a")) } == .schemaMissing)
        let done = try await database.migrate()
        #expect(done.from == 1 && done.to == Schema.version)

        let row = try #require(try await database.record(of: TenantName("a")))
        let expected = TenantRecord(
            tenant: try TenantName("a"), masterKeyID: id, layers: .rootKeyOverKMS(name: "root", version: 3), blob: [1, 2, 0],
            kmsKey: KMSKeyID(rawValue: "key-1"), kmsContext: ["app": "x"], generation: 0, tag: nil, revision: 7,
            createdAt: Date(timeIntervalSince1970: 1), changedAt: Date(timeIntervalSince1970: 2))
        #expect(row == expected)
        let operation = try #require(try await database.unfinishedOperation(of: TenantName("a")))
        #expect(operation.id == operationID && operation.step == .replaced && operation.deletionDays == 9 && operation.retiresOldKey == nil)
        await database.close()
    }
}
