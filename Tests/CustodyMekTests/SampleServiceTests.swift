import Foundation
import MasterKey
import Testing
import TestSupport

/// The whole story: sensitive data in, ciphertext on the disk, everything restarted, read back; then the key goes.
@Suite struct SampleServiceTests {
    private static let people = [("Zoë Ångström", "4111 1111 1111 1111"), ("Grace Hopper", "5500 0000 0000 0004"), ("李小龍", "3400 000000 00009")]

    private func service(_ service: TenantService, _ command: String, socket: String, input: String = "") async throws -> ProcessResult {
        try await run(
            "people-service", arguments: [service.directory.file("tenants.db"), "\(service.tenant)", command], input: input,
            environment: service.environment.merging(["CUSTODY_SOCKET": socket]) { _, own in own })
    }

    @Test func dataOutliveRestartsButNotTheRootKey() async throws {
        let world = try await TenantService(.sqlite, daemon: RunningDaemon.start())
        // Data from before the enablement stay readable: the master key is the same.
        let early = try await service(world, "add", socket: world.daemon.socket, input: "\(Self.people[0].0);\(Self.people[0].1)\n")
        #expect(early.status == .exited(0), "\(UnexpectedResult(early))")
        try await world.enable()
        let later = try await service(
            world, "add", socket: world.daemon.socket, input: Self.people.dropFirst().map { "\($0.0);\($0.1)\n" }.joined())
        #expect(later.status == .exited(0), "\(UnexpectedResult(later))")

        for name in ["tenants.db", "tenants.db-wal"] {
            guard let content = try? Data(contentsOf: URL(fileURLWithPath: world.directory.file(name))) else { continue }
            for (person, card) in Self.people {
                #expect(!content.holds(Data(person.utf8)) && !content.holds(Data(card.utf8)), "\(name)")
            }
        }

        world.daemon.process.signal(SIGKILL)
        try await world.daemon.process.end()
        let daemon = try await world.daemon.again()
        let read = try await service(world, "list", socket: daemon.socket)
        #expect(read.status == .exited(0), "\(UnexpectedResult(read))")
        let lines = read.output.split(separator: "\n").map { $0.split(separator: ";").dropFirst().map(String.init) }
        #expect(lines == Self.people.map { [$0.0, $0.1] })

        // Values are bound to their places: swapped cards are noticed.
        try await HeldSession.run(world, "UPDATE people SET card = (SELECT card FROM people ORDER BY rowid LIMIT 1)")
        let swapped = try await service(world, "list", socket: daemon.socket)
        #expect(swapped.status == .exited(1) && swapped.errors.contains("do not open"))

        try await daemon.destroyRootKey()
        try await eventually("the root key's end in the daemon") {
            try await service(world, "list", socket: daemon.socket).errors.contains("the root key did not open the envelope")
        }
    }

    @Test func twoTenantsCantReadEachOther() async throws {
        let world = try await TenantService(.sqlite)
        try await world.enable()
        try await world.ok("create", "other", "--kms-key", try await world.record().kmsKey.rawValue)
        let added = try await service(world, "add", socket: world.daemon.socket, input: "a;b\n")
        #expect(added.status == .exited(0))
        let other = try await run(
            "people-service", arguments: [world.directory.file("tenants.db"), "other", "list"], environment: world.environment)
        #expect(other.status == .exited(1) && other.errors.contains("sealed under master key"), "\(UnexpectedResult(other))")
    }
}
