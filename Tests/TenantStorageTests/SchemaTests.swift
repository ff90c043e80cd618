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
}
