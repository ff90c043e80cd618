import PKCS11

/// Whether old blobs still need a version, as far as the counting of its uses can tell.
public enum KeyNeed: Sendable, Hashable {
    /// It has wrapped nothing here since it was made.
    case no
    /// It opened something on this day, not long ago.
    case yes(UTCDay)
    /// It wrapped; it was last opened long ago, or never since the counting began.
    case maybe(lastOpened: UTCDay?)
    /// It was not used since the counting began on this day, but it is older, or nobody knows how old.
    case unknown(since: UTCDay)

    /// What was opened within so many days is in use.
    private static let recentDays = 90

    /// - Parameters:
    ///   - created: The day on which it was made, `YYYY-MM-DD`, if the token tells.
    ///   - counting: Since when its uses are counted.
    public init(_ usage: KeyUsage, created: String?, counting: UTCDay, today: UTCDay) {
        let opened = usage.lastDecrypted.map { UTCDay(secondsSince1970: Int(clamping: $0 / 1_000)) }
        switch opened {
        case let day? where day.adding(days: Self.recentDays) >= today: self = .yes(day)
        case nil where usage.uses == 0:
            // Of one made on the day on which the counting began nobody knows which was first.
            self = created.map { $0 > counting.description } == true ? .no : .unknown(since: counting)
        default: self = .maybe(lastOpened: opened)
        }
    }

    public var text: String {
        switch self {
        case .no: "no: wrapped nothing here since it was made"
        case .yes(let day): "yes: opened \(day)"
        case .maybe(let day?): "maybe: last opened \(day)"
        case .maybe(nil): "maybe: not opened since counting began"
        case .unknown(let day): "unknown: not used here since \(day)"
        }
    }
}
