import Foundation
import MasterKey
import TestSupport
import Testing

@testable import TenantStorage

@Suite struct JournalTests {
    private func database(_ store: Store) async throws -> (SQLTenantDatabase, TenantRecord) {
        let database = try store.open()
        let row = try record("a")
        try await database.insert(row)
        return (database, row)
    }

    @Test(arguments: Kind.allCases) func anOperationIsWrittenStepByStep(_ kind: Kind) async throws {
        let store = try await Store(kind)
        let (database, row) = try await database(store)
        var operation = operation(row.tenant, .rotateKMSKey)
        #expect(try await database.unfinishedOperation(of: row.tenant) == nil)
        try await database.begin(operation)
        #expect(try await database.unfinishedOperation(of: row.tenant) == operation)

        operation.step = .rowRead
        operation.changedAt = moment(1)
        try await database.update(operation, done: .rowRead)
        operation.version += 1
        operation.lostCreationAt = moment(2)
        operation.newKey = KMSKeyID(rawValue: "new")
        operation.oldKey = KMSKeyID(rawValue: "older")
        operation.baseRevision = 4
        (operation.retiresOldKey, operation.tag) = (false, [7, 0])
        try await database.update(operation, done: nil)
        operation.version += 1
        #expect(try await database.unfinishedOperation(of: row.tenant) == operation)

        operation.changedAt = moment(2)
        // A step may be done again; the newest entry comes first, whatever the clock said.
        try await database.update(operation, done: .rowRead)
        operation.version += 1
        operation.state = .finished
        operation.step = .oldKeyRetired
        operation.retiresOldKey = nil
        operation.changedAt = moment(5)
        try await database.update(operation, done: .oldKeyRetired)
        operation.version += 1
        #expect(try await database.unfinishedOperation(of: row.tenant) == nil)
        let second = TenantStorageTests.operation(row.tenant, at: moment(-100))
        try await database.begin(second)
        await database.close()

        let again = try store.open()
        let all = try await again.operations(of: row.tenant)
        let operations: [OperationRecord] = all.map(\.operation)
        #expect(operations == [second, operation])
        let steps: [[StepRecord]] = [
            [],
            [
                StepRecord(step: .rowRead, at: moment(1)), StepRecord(step: .rowRead, at: moment(2)),
                StepRecord(step: .oldKeyRetired, at: moment(5)),
            ],
        ]
        #expect(all.map(\.steps) == steps)
        await again.close()
    }

    @Test(arguments: Kind.allCases) func aTenantHasOneUnfinishedOperation(_ kind: Kind) async throws {
        let store = try await Store(kind)
        let (database, row) = try await database(store)
        let winners = await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<10 {
                group.addTask {
                    let failure = await code { try await database.begin(operation(row.tenant)) }
                    #expect(failure == nil || failure == .operationUnderWay)
                    return failure == nil
                }
            }
            return await group.reduce(into: 0) { if $1 { $0 += 1 } }
        }
        #expect(winners == 1)
        #expect(try await database.operations(of: row.tenant).count == 1)
        #expect(await code { try await database.begin(operation(TenantName("b"))) } == .tenantNotFound)
        #expect(await code { try await database.update(operation(row.tenant), done: .held) } == .rowChanged)
        await database.close()
    }

    @Test(arguments: Kind.allCases) func rowAndJournalChangeTogether(_ kind: Kind) async throws {
        let store = try await Store(kind)
        let (database, row) = try await database(store)
        var operation = operation(row.tenant)
        // Without an entry the row must not change either.
        #expect(await code { try await database.replace(row, recording: operation) } == .rowChanged)
        #expect(try await database.record(of: row.tenant)?.revision == 1)

        try await database.begin(operation)
        operation.step = .replaced
        var late = row
        late.revision = 7
        let failure = await code { [late, operation] in try await database.replace(late, recording: operation) }
        #expect(failure == .rowChanged)
        #expect(try await database.unfinishedOperation(of: row.tenant)?.step == nil)
        try await database.replace(row, recording: operation)
        // Who read the entry before that writes nothing any more, neither it nor a row.
        let overtaken = await code { [operation] in try await database.update(operation, done: .held) }
        #expect(overtaken == .rowChanged)
        var next = row
        next.revision = 2
        let notReplaced = await code { [next, operation] in try await database.replace(next, recording: operation) }
        #expect(notReplaced == .rowChanged)
        operation.version += 1
        #expect(try await database.record(of: row.tenant)?.revision == 2)
        let all = try await database.operations(of: row.tenant)
        #expect(all.map(\.operation) == [operation])
        #expect(all.first?.steps == [StepRecord(step: .replaced, at: operation.changedAt)])
        await database.close()
    }

    @Test(arguments: Kind.allCases, ["kind = 'other'", "state = 'other'", "step = 99", "id = BYTES", "retires_old_key = 2"])
    func aDamagedEntryIsNamed(_ kind: Kind, _ damage: String) async throws {
        let store = try await Store(kind)
        let (database, row) = try await database(store)
        try await database.begin(operation(row.tenant))
        try await store.sql("UPDATE custody_operation SET \(damage.replacingOccurrences(of: "BYTES", with: store.literal([1])))")
        do {
            _ = try await database.operations(of: row.tenant)
            Issue.record("it was read")
        } catch {
            #expect(error.code == .rowDamaged)
            #expect(error.message.contains("tenant a ") && error.message.contains("column \(damage.prefix { $0 != " " }) "))
        }
        await database.close()
    }
}
