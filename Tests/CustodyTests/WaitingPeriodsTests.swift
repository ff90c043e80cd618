import Foundation
import Logging
@testable import PKCS11
import TestSupport
import Testing

@testable import Custody

/// How long versions wait for their destruction, whatever the clock says.
@Suite struct WaitingPeriodsTests {
    private static let today = UTCDay(secondsSince1970: 1_800_000_000)
    private let folder: TemporaryDirectory
    private let log = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    private let id = KeyID(newFor: 1)

    init() throws { folder = try TemporaryDirectory() }

    private func days(_ count: Double) -> Duration { .seconds(count * 86_400) }

    private func isOver(_ record: WaitingRecord, _ id: KeyID? = nil) -> Bool {
        record.versions[(id ?? self.id).description]?.isOver == true
    }

    private func ring(_ state: KeyVersion.State) -> KeyRing {
        KeyRing(
            versions: [KeyVersion(name: "root", id: id, state: state, exception: nil, object: ObjectHandle(rawValue: 1))], strangers: [])
    }

    @Test(arguments: [7, 14, 30]) func itTakesAsLongAsItWasToTake(_ wait: Int) {
        let schedule = [id: Self.today.adding(days: wait)]
        var record = WaitingRecord()
        record.see(schedule, elapsed: days(100), today: Self.today)
        for day in 1..<wait {
            record.see(schedule, elapsed: days(1), today: Self.today.adding(days: day))
            #expect(!isOver(record), "day \(day)")
        }
        record.see(schedule, elapsed: days(1), today: Self.today.adding(days: wait))
        #expect(isOver(record))
    }

    /// The clock goes forward and back, and the wait neither shortens nor begins anew.
    @Test func aJumpOfTheClockShortensNothing() {
        let schedule = [id: Self.today.adding(days: 10)]
        var record = WaitingRecord()
        record.see(schedule, elapsed: .zero, today: Self.today)
        for jump in [4_000, 0, -4_000, 11] {
            record.see(schedule, elapsed: days(2), today: Self.today.adding(days: jump))
            #expect(!isOver(record))
        }
        record.see(schedule, elapsed: days(2), today: Self.today)
        #expect(isOver(record))
    }

    /// A day that is over when the version is seen for the first time, as after a jump before the start: seven days at least.
    @Test func whatWasNeverSeenWaitsSevenDays() {
        let schedule = [id: Self.today.adding(days: -300)]
        var record = WaitingRecord()
        record.see(schedule, elapsed: days(1_000), today: Self.today)
        record.see(schedule, elapsed: days(6.99), today: Self.today)
        #expect(!isOver(record))
        record.see(schedule, elapsed: days(0.01), today: Self.today)
        #expect(isOver(record))
    }

    @Test func anotherScheduleBeginsAnew() {
        var record = WaitingRecord()
        let schedule = [id: Self.today.adding(days: 7)]
        record.see(schedule, elapsed: .zero, today: Self.today)
        record.see(schedule, elapsed: days(7), today: Self.today)
        #expect(isOver(record))
        record.see([id: Self.today.adding(days: 8)], elapsed: days(7), today: Self.today)
        #expect(!isOver(record))
        record.see([:], elapsed: days(1), today: Self.today)
        #expect(record.versions.isEmpty)
    }

    /// What has passed outlives the daemon; the time between two daemons does not count.
    @Test func overRestarts() throws {
        let scheduled = ring(.scheduledForDestruction(after: Self.today.adding(days: 7).description))
        let path = folder.file("state")
        var start = ContinuousClock.now
        for round in 0..<4 {
            let periods = try WaitingPeriods(StateDirectory(path), log: log)
            periods.see(scheduled, now: start, today: Self.today)
            #expect(try !isOver(WaitingRecord(stateDirectory: path)), "round \(round)")
            periods.see(scheduled, now: start + days(2), today: Self.today)
            // One that is killed has written what was older than a minute.
            if round % 2 == 0 { periods.close() }
            start += days(500)
        }
        #expect(try isOver(WaitingRecord(stateDirectory: path)))
        let periods = try WaitingPeriods(StateDirectory(path), log: log)
        periods.see(ring(.disabled), now: start, today: Self.today)
        #expect(try WaitingRecord(stateDirectory: path).versions.isEmpty, "whoever takes the schedule back has the whole wait again")
    }

    @Test(arguments: ["", "{}", "garbage", "{\"format\":2,\"versions\":{}}",
        "{\"format\":1,\"versions\":{\"00\":{\"after\":\"2026-01-01\",\"required\":-1,\"passed\":0}}}"])
    func aDamagedRecordBeginsAnew(_ content: String) throws {
        let path = folder.file("state")
        _ = try StateDirectory(path)
        try folder.write("state/waiting-periods.json", content)
        try expectError(.stateUnavailable) { () throws(CustodyError) in try WaitingRecord(stateDirectory: path) }
        let periods = try WaitingPeriods(StateDirectory(path), log: log)
        periods.see(ring(.scheduledForDestruction(after: Self.today.description)), now: .now, today: Self.today)
        #expect(try !isOver(WaitingRecord(stateDirectory: path)))
    }

    @Test func withoutARecordNothingIsOver() throws {
        #expect(try WaitingRecord(stateDirectory: folder.file("missing")) == WaitingRecord())
    }
}
