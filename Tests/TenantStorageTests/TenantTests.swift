import Foundation
import MasterKey
import TestSupport
import Testing

@testable import TenantStorage

@Suite struct TenantTests {
    @Test(arguments: Kind.allCases) func rowsComeBackAsTheyWere(_ kind: Kind) async throws {
        let store = try await Store(kind)
        let database = try store.open()
        var first = try record("a", blob: Array(0...255) + Array(repeating: 7, count: 5_000))
        first.lastOpenedAt = moment(60)
        let second = try record("b", blob: [], layers: .rootKeyOverKMS(name: "root", version: .max))
        for record in [first, second] { try await database.insert(record) }
        await database.close()

        // By another object, so that nothing of it is remembered.
        let again = try store.open()
        #expect(try await again.record(of: first.tenant) == first)
        #expect(try await again.record(of: second.tenant) == second)
        #expect(try await again.record(of: TenantName("c")) == nil)
        await again.close()
        #expect(await code { try await again.record(of: first.tenant) } == .databaseUnavailable)
    }

    @Test(arguments: Kind.allCases) func datesAreRoundedToMilliseconds(_ kind: Kind) async throws {
        let store = try await Store(kind)
        let database = try store.open()
        var new = try record("a")
        new.changedAt = Date(timeIntervalSince1970: 1.000_6)
        try await database.insert(new)
        #expect(try await database.record(of: new.tenant)?.changedAt == Date(timeIntervalSince1970: 1.001))
        await database.close()
    }

    @Test(arguments: Kind.allCases) func aTenantIsInsertedOnce(_ kind: Kind) async throws {
        let store = try await Store(kind)
        let database = try store.open()
        let first = try record("a")
        try await database.insert(first)
        let second = try record("a", blob: [9])
        #expect(await code { try await database.insert(second) } == .tenantExists)
        #expect(try await database.record(of: first.tenant) == first)
        await database.close()
    }

    @Test(arguments: Kind.allCases) func namesAreSortedByBytes(_ kind: Kind) async throws {
        let store = try await Store(kind)
        let database = try store.open()
        let names = ["B", "a", "_x", "a-1", "A", "b", "a_1", "a1", "Z/1", "0"]
        for name in names { try await database.insert(try record(name)) }
        let sorted = try names.map(TenantName.init).sorted()

        var found: [TenantName] = []
        while true {
            let page = try await database.tenants(after: found.last, limit: 3)
            if page.isEmpty { break }
            #expect(page.count <= 3)
            found += page
        }
        #expect(found == sorted)
        #expect(try await database.tenants(after: nil, limit: 0).isEmpty)
        #expect(try await database.tenants(under: KMSKeyID(rawValue: "key-1")) == sorted)
        #expect(try await database.tenants(under: KMSKeyID(rawValue: "key")).isEmpty)
        await database.close()
    }

    @Test(arguments: Kind.allCases) func aReplacementChangesWhatItShould(_ kind: Kind) async throws {
        let store = try await Store(kind)
        let database = try store.open()
        let old = try record("a")
        try await database.insert(old)
        try await database.noteOpening(of: old.tenant, at: moment(2))
        var new = old
        new.layers = .rootKeyOverKMS(name: "root", version: 3)
        new.blob = [5]
        new.kmsKey = KMSKeyID(rawValue: "key-2")
        new.kmsContext = [:]
        (new.generation, new.tag) = (4, nil)
        new.changedAt = moment(3)
        try await database.replace(new, recording: nil)

        var expected = new
        expected.revision = 2
        expected.lastOpenedAt = moment(2)
        #expect(try await database.record(of: old.tenant) == expected)
        #expect(try await database.tenants(under: old.kmsKey).isEmpty)

        // The revision that it was read with is not the row's any more.
        #expect(await code { try await database.replace(new, recording: nil) } == .rowChanged)
        #expect(try await database.record(of: old.tenant) == expected)
        #expect(await code { try await database.replace(try record("b"), recording: nil) } == .tenantNotFound)
        #expect(await code { try await database.noteOpening(of: TenantName("b"), at: moment()) } == .tenantNotFound)
        await database.close()
    }

    @Test(arguments: Kind.allCases) func aReplacementIsOfTheSameMasterKey(_ kind: Kind) async throws {
        let store = try await Store(kind)
        let database = try store.open()
        try await database.insert(try record("a"))
        // The revision is right, but somebody has put another key in the row's place.
        #expect(await code { try await database.replace(try record("a", blob: [9]), recording: nil) } == .rowChanged)
        await database.close()
    }

    @Test(arguments: Kind.allCases) func oneOfManyReplacementsWins(_ kind: Kind) async throws {
        let store = try await Store(kind)
        let databases = [try store.open(patience: .seconds(60)), try store.open(patience: .seconds(60))]
        let old = try record("a")
        try await databases[0].insert(old)
        let winners = await withTaskGroup(of: UInt8?.self) { group in
            for number in 0..<20 as Range<UInt8> {
                group.addTask {
                    var new = old
                    new.blob = [number]
                    let failure = await code { [new] in try await databases[Int(number) % 2].replace(new, recording: nil) }
                    #expect(failure == nil || failure == .rowChanged)
                    return failure == nil ? number : nil
                }
            }
            return await group.reduce(into: [UInt8]()) { if let number = $1 { $0.append(number) } }
        }
        try #require(winners.count == 1)
        #expect(try await databases[1].record(of: old.tenant)?.blob == winners)
        #expect(try await databases[1].record(of: old.tenant)?.revision == 2)
        for database in databases { await database.close() }
    }

    @Test(arguments: Kind.allCases) func aLockedRowIsBusy(_ kind: Kind) async throws {
        let store = try await Store(kind)
        let database = try store.open(patience: .milliseconds(100))
        let row = try record("a")
        try await database.insert(row)
        let other = try await store.session(in: "UPDATE custody_tenant SET revision = 9")
        #expect(await code { try await database.replace(row, recording: nil) } == .databaseBusy)
        #expect(try await database.record(of: row.tenant) == row)
        other.signal(SIGKILL)
        try await other.end()
        // What it had begun is rolled back; PostgreSQL takes a moment to notice.
        try await eventually("the lock is free") { await code { try await database.replace(row, recording: nil) } == nil }
        await database.close()
    }

    static let damages: [(column: String, value: String)] = [
        ("tenant", "'no good'"), ("master_key_id", "BYTES"), ("root_key", "'k'"), ("root_key_version", "3"),
        ("kms_context", "'{'"), ("kms_context", "'[1]'"), ("kms_context", "'{\"a\":1}'"),
    ]

    @Test(arguments: Kind.allCases, damages.indices) func aDamagedRowIsNamed(_ kind: Kind, _ damage: Int) async throws {
        let store = try await Store(kind)
        let database = try store.open()
        try await database.insert(try record("a"))
        let (column, value) = Self.damages[damage]
        let literal = value.replacingOccurrences(of: "BYTES", with: store.literal([1, 2, 3]))
        try await store.sql("UPDATE custody_tenant SET \(column) = \(literal)")
        do throws(MasterKeyError) {
            _ = try await database.tenants(after: nil, limit: 10)
            // The others go on: a row without a name is passed over, and told of apart.
            if let nameless = try await database.rowsWithoutName().first { throw nameless }
            _ = try await database.record(of: TenantName("a"))
            Issue.record("it was read")
        } catch {
            #expect(error.code == .rowDamaged)
            // Of a root key without a version it is the version that is missing, and the other way round.
            let named = ["root_key": "root_key_version", "root_key_version": "root_key"][column, default: column]
            #expect(error.message.contains("column \(named) "))
            #expect(column == "tenant" ? !error.message.contains("no good") : error.message.contains("tenant a "))
        }
        await database.close()
    }

    @Test(arguments: Kind.allCases) func aVersionThatIsNoneIsDamage(_ kind: Kind) async throws {
        let store = try await Store(kind)
        let database = try store.open()
        let row = try record("a", layers: .rootKeyOverKMS(name: "k", version: 1))
        try await database.insert(row)
        try await store.sql("UPDATE custody_tenant SET root_key_version = 4294967296")
        #expect(await code { try await database.record(of: row.tenant) } == .rowDamaged)
        await database.close()
    }
}
