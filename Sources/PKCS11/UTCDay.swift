import Glibc

/// A day in UTC, which is what a CK_DATE holds.
public struct UTCDay: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// Days since 1970-01-01.
    private let number: Int

    private init(number: Int) { self.number = number }

    public static var today: UTCDay { UTCDay(secondsSince1970: time(nil)) }

    public init(secondsSince1970 seconds: Int) { number = Int((Double(seconds) / 86_400).rounded(.down)) }

    /// nil if there is no such day between the years 1 and 9999.
    public init?(year: Int, month: Int, day: Int) {
        guard (1...9_999).contains(year), (1...12).contains(month), (1...31).contains(day) else { return nil }
        // Years that begin in March put the leap day at their end.
        let shifted = month > 2 ? year : year - 1
        let daysBeforeMonth = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5
        number = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + daysBeforeMonth + day - 1 - 719_468
        guard civil == (year, month, day) else { return nil }
    }

    /// From `YYYY-MM-DD`; nil if it is no day.
    public init?(_ text: String) {
        let digits = text.utf8.filter { $0 != UInt8(ascii: "-") }
        self.init(date: digits)
        guard description == text else { return nil }
    }

    /// How many days it is later than another; negative if it is earlier.
    public func days(since other: UTCDay) -> Int { number - other.number }

    public func adding(days: Int) -> UTCDay { UTCDay(number: number + days) }

    public static func < (left: UTCDay, right: UTCDay) -> Bool { left.number < right.number }

    /// `YYYY-MM-DD`.
    public var description: String {
        let (year, month, day) = civil
        return "\(Self.padded(year, 4))-\(Self.padded(month, 2))-\(Self.padded(day, 2))"
    }

    private var civil: (year: Int, month: Int, day: Int) {
        // Eras of 400 years, which all have the same days.
        let days = number + 719_468
        let era = (days >= 0 ? days : days - 146_096) / 146_097
        let dayOfEra = days - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let month = (5 * dayOfYear + 2) / 153
        let year = yearOfEra + era * 400 + (month < 10 ? 0 : 1)
        return (year, month < 10 ? month + 3 : month - 9, dayOfYear - (153 * month + 2) / 5 + 1)
    }

    private static func padded(_ number: Int, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}

/// As a CK_DATE: eight digits.
extension UTCDay {
    init?(date bytes: [UInt8]) {
        // Some tokens write zeros for "no date": that is no day.
        guard bytes.count == 8, bytes.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        func number(_ range: Range<Int>) -> Int { bytes[range].reduce(0) { $0 * 10 + Int($1 - 0x30) } }
        self.init(year: number(0..<4), month: number(4..<6), day: number(6..<8))
    }

    var dateBytes: [UInt8] { description.utf8.filter { $0 != UInt8(ascii: "-") } }
}
