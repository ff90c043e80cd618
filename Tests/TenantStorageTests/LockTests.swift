import Foundation
import MasterKey
import TestSupport
import Testing

@testable import TenantStorage

@Suite struct LockTests {
    @Test(arguments: Kind.allCases) func aTenantIsTakenOnce(_ kind: Kind) async throws {
        let store = try await Store(kind)
        let (database, other) = (try store.open(), try store.open())
        let (a, b) = (try TenantName("a"), try TenantName("b"))
        let held = try #require(try await database.lock(a))
        #expect(try await database.lock(a) == nil)
        #expect(try await other.lock(a) == nil)
        let second = try #require(try await other.lock(b))
        await held.release()
        await held.release()
        let again = try #require(try await other.lock(a))
        // Held by the lock, not by the object that gave it.
        await other.close()
        #expect(try await database.lock(a) == nil)
        await again.release()
        await second.release()
        try await eventually("the lock is free") { try await database.lock(a) != nil }
        await database.close()
    }

    @Test(arguments: Kind.allCases) func aLockThatIsDroppedIsFree(_ kind: Kind) async throws {
        let store = try await Store(kind)
        let database = try store.open()
        let a = try TenantName("a")
        do { _ = try #require(try await database.lock(a)) }
        try await eventually("the lock is free") { try await database.lock(a) != nil }
        await database.close()
    }

    @Test(arguments: Kind.allCases) func aKilledProcessHoldsNothing(_ kind: Kind) async throws {
        let store = try await Store(kind)
        let database = try store.open()
        let a = try TenantName("a")
        let holder = try store.process("hold", "a")
        try await holder.line(containing: "held")
        #expect(try await database.lock(a) == nil)
        holder.signal(SIGKILL)
        try await holder.end()
        let lock = try await eventualValue("the lock is free") { try await database.lock(a) }
        // And the other way round.
        let late = try await store.process("hold", "a").end()
        #expect(late.output == "taken\n")
        await lock.release()
        await database.close()
    }

    @Test func theFileDecidesNotHowItIsWritten() async throws {
        let store = try await Store(.sqlite)
        let link = store.folder + "/link"
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: store.path)
        let (database, other) = (try store.open(), try TenantDatabases.open("sqlite://\(link)"))
        let held = try #require(try await database.lock(TenantName("a")))
        #expect(try await other.lock(TenantName("a")) == nil)
        await held.release()
        await database.close()
        await other.close()
    }
}
