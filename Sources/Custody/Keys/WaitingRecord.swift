import Foundation
import Glibc
import PKCS11

/// For how long versions that are scheduled for destruction have really waited.
///
/// A clock can be set, and then a day is over that was not. So a schedule is over only when, besides, so much time has passed as
/// it was to take: as `custodyd` has seen it pass, by the kernel's clock that nobody sets. Time in which `custodyd` did not run, or
/// did not reach the token, is not seen before it reaches it again; that makes a wait longer and never shorter.
public struct WaitingRecord: Codable, Sendable, Equatable {
    struct Period: Codable, Equatable {
        /// The last day on which it can't be destroyed yet, `YYYY-MM-DD`.
        var after: String
        /// How long it has to wait, and how long it has waited, in seconds.
        var required: Double
        var passed: Double

        var isOver: Bool { passed >= required }
    }

    static let file = "waiting-periods.json"
    /// The shortest that may be asked for; what a schedule has to wait whose day was over when it was first seen.
    public static let shortestDays = 7

    private var format = 1
    /// By the key id's text.
    private(set) var versions: [String: Period] = [:]

    public init() {}

    /// What a daemon with this state directory has written.
    ///
    /// - Throws: ``CustodyError`` with `stateUnavailable` if it can't be read or is damaged.
    public init(stateDirectory: String) throws(CustodyError) {
        let path = stateDirectory + "/" + Self.file
        func unavailable(_ why: String) -> CustodyError {
            CustodyError(.stateUnavailable, "\(path), where custodyd writes how long versions have waited, \(why)")
        }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else {
            if errno == ENOENT { return }
            throw unavailable("can't be read: \(String(cString: strerror(errno))); run this as root or as the daemon's user")
        }
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        guard let content = try? file.readToEnd() ?? Data() else { throw unavailable("can't be read") }
        guard let record = Self(Array(content)) else {
            throw unavailable("is damaged; custodyd begins it anew at its start, and then every wait begins anew")
        }
        self = record
    }

    init?(_ bytes: [UInt8]) {
        guard let record = try? JSONDecoder().decode(WaitingRecord.self, from: Data(bytes)), record.format == 1,
            record.versions.values.allSatisfy({ $0.required.isFinite && $0.passed.isFinite && $0.required > 0 && $0.passed >= 0 })
        else { return nil }
        self = record
    }

    var bytes: [UInt8]? {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        return (try? encoder.encode(self)).map { Array($0) + [0x0A] }
    }

    /// Takes in which versions are scheduled now.
    ///
    /// - Parameters:
    ///   - elapsed: The time since the look before.
    ///   - today: What this host takes for the day; it counts when a schedule is seen for the first time, and then only to wait longer.
    mutating func see(_ scheduled: [KeyID: UTCDay], elapsed: Duration, today: UTCDay) {
        var next: [String: Period] = [:]
        for (id, day) in scheduled {
            if var known = versions[id.description], known.after == day.description {
                known.passed = min(known.required, known.passed + elapsed / .seconds(1))
                next[id.description] = known
            } else {
                let days = max(Self.shortestDays, day.days(since: today))
                next[id.description] = Period(after: day.description, required: Double(days) * 86_400, passed: 0)
            }
        }
        versions = next
    }

    /// Why a version whose day is over may not be destroyed yet; nil if it may.
    public func objection(to key: KeyObject) -> String? {
        guard let day = key.attributes.day(.endDate) else { return "it has no day" }
        let over = "its day, \(day), is over by this host's clock"
        guard let id = key.id, let period = versions[id.description], period.after == day.description else {
            return "\(over), but no custodyd of this host has seen it wait; one that runs begins to count when it sees the version"
        }
        guard !period.isOver else { return nil }
        return "\(over), but custodyd has seen it wait for \(Self.text(period.passed)) of \(Self.text(period.required))"
    }

    private static func text(_ seconds: Double) -> String {
        let days = seconds / 86_400
        return days == days.rounded() ? "\(Int(days)) days" : String(format: "%.1f days", (days * 10).rounded(.down) / 10)
    }
}
