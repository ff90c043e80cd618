import Foundation
import MasterKey
import PostgreSQL
import TestSupport
import Testing

@testable import TenantStorage

/// A server that may be on another machine has to prove who it is before it is told anything.
///
/// `127.1` is the loopback address in a form that is not surely one, so it stands here for another machine's.
@Suite struct ServerIdentityTests {
    private static let elsewhere = "127.1"

    /// What comes of using a database at this address.
    private func failure(_ address: String) async throws -> MasterKeyError? {
        let database = try TenantDatabases.open(address, environment: [:])
        var failure: MasterKeyError?
        do throws(MasterKeyError) { _ = try await database.migrate() } catch { failure = error }
        await database.close()
        return failure
    }

    private func passwords() throws -> (TemporaryDirectory, file: String) {
        let directory = try TemporaryDirectory()
        return (directory, try directory.write("passwords", "*:*:*:*:hunter2\n"))
    }

    // MARK: Whoever answers

    @Test(arguments: ["", "&sslmode=", "&sslmode=verify-full", "&sslmode=require"]) func nothingIsToldInClear(_ parameters: String) async throws {
        let (directory, file) = try passwords()
        defer { withExtendedLifetime(directory) {} }
        let fake = try await FakePostgreSQL.start()
        let address = "postgresql://service@\(Self.elsewhere):\(fake.port)/tenants?passfile=\(file)" + parameters
        let error = try #require(try await failure(address))
        #expect(error.code == .databaseUnavailable)
        #expect(parameters.hasPrefix("&sslmode=v") || parameters.hasPrefix("&sslmode=r") || error.advice?.contains("sslrootcert=FILE") == true, "\(error)")
        #expect(fake.told.isEmpty, "neither user nor password")
        #expect(fake.connections > 0 || error.message.contains("root certificate"), "\(error)")
    }

    /// By an explicit word in the address, or on this machine. It shows that who answers here would have been told.
    @Test func aWeakerWordInTheAddressCounts() async throws {
        let (directory, file) = try passwords()
        defer { withExtendedLifetime(directory) {} }
        for (host, mode) in [(Self.elsewhere, "&sslmode=disable"), (Self.elsewhere, "&sslmode=prefer"), ("127.0.0.1", ""), ("localhost", "")] {
            let fake = try await FakePostgreSQL.start()
            _ = try await failure("postgresql://service@\(host):\(fake.port)/tenants?passfile=\(file)" + mode)
            #expect(fake.told.contains { $0.contains("service") } && fake.told.contains { $0.contains("hunter2") }, "\(host)\(mode)")
        }
    }

    /// The environment's word and a service file's is not the address's.
    @Test func aWeakerWordElsewhereDoesNot() async throws {
        let (directory, file) = try passwords()
        /// - Returns: What somebody was told who answers at PORT.
        func told(_ address: String, _ environment: [String: String]) async throws -> [String] {
            let fake = try await FakePostgreSQL.start()
            let port = "\(fake.port)"
            try directory.write("service-\(port)", "[tenants]\nhost=\(Self.elsewhere)\nport=\(port)\ndbname=d\nuser=u\nsslmode=disable\n")
            let result = try await run(
                "custody-tenant-holder", arguments: [address.replacing("PORT", with: port), "migrate"],
                environment: environment.mapValues { $0.replacing("PORT", with: port) }.merging(["PGPASSFILE": file]) { own, _ in own })
            #expect(result.output == "database-unavailable\n", "\(address): \(UnexpectedResult(result))")
            return fake.told
        }
        let service = "\(directory.path)/service-PORT"
        for (address, environment) in [
            ("postgresql://u@\(Self.elsewhere):PORT/d", ["PGSSLMODE": "disable"]),
            ("postgresql://u@/d", ["PGSSLMODE": "disable", "PGHOST": Self.elsewhere, "PGPORT": "PORT"]),
            ("postgresql://u@127.0.0.1:PORT/d", ["PGSSLMODE": "disable", "PGHOSTADDR": Self.elsewhere]),
            ("postgresql://?service=tenants", ["PGSERVICEFILE": service]), ("postgresql://", ["PGSERVICEFILE": service, "PGSERVICE": "tenants"]),
        ] {
            #expect(try await told(address, environment).isEmpty, "\(address) \(environment)")
            // The word in the address goes before them.
            let weak = address + (address.contains("?") ? "&" : "?") + "sslmode=disable"
            #expect(try await told(weak, environment).contains { $0.contains("hunter2") }, "\(weak) \(environment)")
        }
    }

    // MARK: A real server

    @Test func aServerThatProvesItselfIsUsed() async throws {
        let cluster = try await PostgreSQLCluster(
            access: "hostssl all guarded 127.0.0.1/32 scram-sha-256\nhost all admin 127.0.0.1/32 trust", network: .tls(names: "IP:127.0.0.1"))
        let name = try await cluster.makeDatabase()
        try await cluster.psql("CREATE ROLE guarded SUPERUSER LOGIN PASSWORD 'hunter2'", database: name)
        let (directory, file) = try passwords()
        let port = try #require(cluster.port)
        let address = "postgresql://guarded@\(Self.elsewhere):\(port)/\(name)?passfile=\(file)"
        #expect(try await failure(address + "&sslrootcert=\(cluster.certificateFile)") == nil)
        // Nobody vouches for it.
        let unknown = try #require(try await failure(address + "&sslrootcert=\(directory.path)/none"))
        #expect(unknown.code == .databaseUnavailable && unknown.advice?.contains("sslrootcert=FILE") == true, "\(unknown)")
        // Somebody else's certificate.
        let other = try await PostgreSQLCluster(network: .tls(names: "DNS:other.example"))
        let wrong = try #require(try await failure(address + "&sslrootcert=\(other.certificateFile)"))
        #expect(wrong.code == .databaseUnavailable && wrong.advice?.contains("sslrootcert=FILE") == true, "\(wrong)")
        // Its own, for another host.
        let otherPort = try #require(other.port)
        let misnamed = try #require(
            try await failure("postgresql://admin@\(Self.elsewhere):\(otherPort)/postgres?sslrootcert=\(other.certificateFile)"))
        #expect(misnamed.code == .databaseUnavailable && misnamed.advice?.contains("sslrootcert=FILE") == true, "\(misnamed)")
        // Encrypted without proof is what was asked for here.
        #expect(try await failure(address + "&sslmode=require") == nil)
    }

    @Test func aServerWithoutTLSServesThisMachineOnly() async throws {
        let cluster = try await PostgreSQLCluster(access: "host all all 127.0.0.1/32 trust", network: .clear)
        let name = try await cluster.makeDatabase(), port = try #require(cluster.port)
        for host in ["127.0.0.1", "localhost"] { #expect(try await failure("postgresql://admin@\(host):\(port)/\(name)") == nil) }
        #expect(try await failure(cluster.address(of: name)) == nil)
        #expect(try await failure("postgresql://admin@db.example:\(port)/\(name)?hostaddr=127.0.0.1") == nil)
        for address in [
            "postgresql://admin@\(Self.elsewhere):\(port)/\(name)", "postgresql://admin@127.0.0.1:\(port)/\(name)?hostaddr=\(Self.elsewhere)",
            // One of several is enough.
            "postgresql://admin@127.0.0.1:\(port),\(Self.elsewhere):\(port)/\(name)",
        ] {
            let error = try #require(try await failure(address), "\(address)")
            #expect(error.code == .databaseUnavailable && error.advice?.contains("sslmode=verify-full") == true, "\(error)")
        }
        #expect(try await failure("postgresql://admin@\(Self.elsewhere):\(port)/\(name)?sslmode=disable") == nil)
    }
}
