import PKCS11

/// Whether old blobs still need a version, as far as the counting of its uses can tell.
public enum KeyNeed: Sendable, Hashable {
    /// It never wrapped anything.
    case no
    /// It opened something on this day, not long ago.
    case yes(UTCDay)
    /// It wrapped; it was last opened long ago, or never since the counting began.
    case maybe(lastOpened: UTCDay?)

    /// What was opened within so many days is in use.
    private static let recentDays = 90

    public init(_ usage: KeyUsage, today: UTCDay) {
        let opened = usage.lastDecrypted.map { UTCDay(secondsSince1970: Int(clamping: $0 / 1_000)) }
        switch opened {
        case let day? where day.adding(days: Self.recentDays) >= today: self = .yes(day)
        case nil where usage.uses == 0: self = .no
        default: self = .maybe(lastOpened: opened)
        }
    }

    public var text: String {
        switch self {
        case .no: "no: never used to wrap"
        case .yes(let day): "yes: opened \(day)"
        case .maybe(let day?): "maybe: last opened \(day)"
        case .maybe(nil): "maybe: not opened since counting began"
        }
    }
}
