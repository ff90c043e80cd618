import Foundation
import MasterKey
import TestSupport
import Testing

@testable import TenantStorage

@Suite struct AddressTests {
    @Test(arguments: [
        "", "sqlite", "sqlite:", "sqlite://", "sqlite://host/path", "sqlite:folder/", "mysql://h/d", "/path", "postgresql:d", "postgres",
        "postgresql://h/d?nonsense=1", "postgresql://h:%zz/d",
    ])
    func whatIsNoAddressIsRefused(_ text: String) async throws {
        let error = try #require(throws: MasterKeyError.self) { try TenantDatabases.open(text, environment: [:]) }
        #expect(error.code == .databaseAddress)
        #expect(error.advice?.contains("sqlite:PATH") == true && error.advice?.contains("postgresql://") == true)
    }

    @Test(arguments: [
        "postgresql://u:hunter2@h/d", "postgres://u:hunter2@h/d", "postgresql://h/d?password=hunter2", "postgresql://h/d?%70assword=hunter2",
        "postgresql://h/d?sslpassword=hunter2", "postgresql://u:hunter2@[h/d", "postgresql://u:hunter2@h/d?nonsense=1",
    ])
    func aPasswordIsRefusedAndNotShown(_ text: String) async throws {
        let error = try #require(throws: MasterKeyError.self) { try TenantDatabases.open(text, environment: [:]) }
        #expect(error.code == .databaseAddress)
        #expect(!"\(error) \(error.cause.map { "\($0)" } ?? "")".contains("hunter2"))
    }

    @Test func aPasswordInTheEnvironmentIsRefused() async throws {
        let environment = ["PGPASSWORD": "hunter2"]
        let error = try #require(throws: MasterKeyError.self) { try TenantDatabases.open("postgres://h/d", environment: environment) }
        #expect(error.code == .databaseAddress && error.advice?.contains("PGPASSFILE") == true && !"\(error)".contains("hunter2"))
        // It concerns PostgreSQL only.
        #expect(await code { await (try TenantDatabases.open("sqlite:x", environment: environment)).close() } == nil)
    }

    /// However a file's path is spelled, it is the same database.
    @Test func aFileHasOneIdentity() async throws {
        let directory = try TemporaryDirectory()
        let link = directory.file("link"), path = directory.file("tenants.db")
        #expect(symlink(directory.path, link) == 0)
        func identity(_ path: String) async throws -> String {
            let database = try TenantDatabases.open("sqlite:" + path, environment: [:])
            let identity = database.identity
            await database.close()
            return identity
        }
        let folder = URL(fileURLWithPath: directory.path).lastPathComponent
        let spellings = [directory.path + "/./tenants.db", directory.path + "//tenants.db", link + "/tenants.db", link + "/../\(folder)/tenants.db"]
        let first = try await identity(path)
        // Whether it is there or not.
        for isThere in [false, true] {
            if isThere { _ = try directory.write("tenants.db", "") }
            for spelling in spellings { #expect(try await identity(spelling) == first, "\(spelling)") }
        }
        #expect(symlink(path, directory.file("other.db")) == 0)
        #expect(try await identity(directory.file("other.db")) == first)
        #expect(try await identity(directory.file("another.db")) != first)
    }

    @Test func theNameHasNoParameters() async throws {
        for (address, name) in [
            ("postgresql://u@h:5/d?sslmode=require&host=/x", "postgresql://u@h:5/d"), ("sqlite:a?b", "sqlite:a?b"),
            ("sqlite:///a/b", "sqlite:///a/b"),
        ] {
            let database = try TenantDatabases.open(address, environment: [:])
            #expect(database.name == name)
            await database.close()
        }
    }
}
