import TestSupport
import Testing

@testable import PKCS11

@Suite struct UTCDayTests {
    @Test(arguments: [
        (0, "1970-01-01"), (86_399, "1970-01-01"), (86_400, "1970-01-02"), (-1, "1969-12-31"), (951_782_400, "2000-02-29"),
        (951_868_800, "2000-03-01"), (4_107_542_400, "2100-03-01"), (1_795_219_200, "2026-11-21"), (253_402_300_799, "9999-12-31"),
    ])
    func secondsOfTheClock(_ seconds: Int, _ expected: String) {
        #expect(UTCDay(secondsSince1970: seconds).description == expected)
    }

    @Test(arguments: [
        ("20261231", "2026-12-31"), ("00010101", "0001-01-01"), ("20240229", "2024-02-29"), ("20230229", nil), ("21000229", nil),
        ("00000000", nil), ("20261301", nil), ("20260431", nil), ("20260400", nil), ("2026-1-1", nil), ("", nil), ("202601011", nil),
        ("        ", nil),
    ])
    func dates(_ text: String, _ expected: String?) {
        let day = UTCDay(date: Array(text.utf8))
        #expect(day?.description == expected)
        if let day { #expect(day.dateBytes == Array(text.utf8)) }
    }

    @Test(arguments: [
        ("2026-12-31", true), ("2024-02-29", true), ("2023-02-29", false), ("20261231", false), ("2026-12-3", false), ("", false),
        ("2026-12-31 ", false), ("-2026-1231", false),
    ])
    func texts(_ text: String, _ isDay: Bool) {
        #expect(UTCDay(text)?.description == (isDay ? text : nil))
    }

    @Test func differences() throws {
        let day = try #require(UTCDay("2024-02-28"))
        for days in [-4_000, -1, 0, 1, 2, 366] { #expect(day.adding(days: days).days(since: day) == days) }
    }

    @Test func everyDayHasItsNextOne() throws {
        var day = try #require(UTCDay(year: 1899, month: 12, day: 31))
        for year in 1900...2101 {
            let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
            for (month, length) in [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].enumerated() {
                for number in 1...length {
                    let next = day.adding(days: 1)
                    #expect(next > day)
                    day = next
                    guard day == UTCDay(year: year, month: month + 1, day: number) else {
                        Issue.record("\(day) is not \(year)-\(month + 1)-\(number)")
                        return
                    }
                }
            }
        }
    }

    private func dates(of key: ObjectHandle, _ session: borrowing Session) throws -> [String?] {
        let attributes = try session.attributes(of: key, [.startDate, .endDate])
        return [attributes.date(.startDate), attributes.date(.endDate)]
    }

    /// Of a public object: SoftHSM can't give back a private one's.
    @Test func aDateIsSetAndTakenAway() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let (start, end) = (try #require(UTCDay(year: 2026, month: 1, day: 31)), try #require(UTCDay(year: 2027, month: 2, day: 1)))
                let key = try session.generateKey(.aesKeyGeneration, [Attribute].aesKey(label: "k", onToken: true).filter { $0.type != .isPrivate } + [.bool(.isPrivate, false), .date(.startDate, start)])
                #expect(try dates(of: key, session) == ["2026-01-31", nil])
                try session.setAttributes(of: key, [.date(.endDate, end)])
                #expect(try dates(of: key, session) == ["2026-01-31", "2027-02-01"])
                try session.setAttributes(of: key, [.date(.endDate, nil)])
                #expect(try dates(of: key, session) == ["2026-01-31", nil])
            }
        }
    }
}
