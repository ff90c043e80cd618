import Foundation
import TestSupport

/// What a process holds, as the kernel shows it (proc(5)), and what the token has open for it.
struct Vitals: Sendable {
    let life: Int
    let age: Duration
    let residentKilobytes: Int
    let descriptors: Int
    let threads: Int
    let sessions: Int
    /// Logins in this life so far: SoftHSM's leaks grow by them.
    let logins: Int

    init?(_ life: Host.Life, sessions: Int, logins: Int) {
        let folder = "/proc/\(life.process.processID)"
        guard let statm = try? String(contentsOfFile: folder + "/statm", encoding: .utf8).split(separator: " "),
            statm.count > 1, let pages = Int(statm[1]),
            let descriptors = try? FileManager.default.contentsOfDirectory(atPath: folder + "/fd").count,
            let threads = try? FileManager.default.contentsOfDirectory(atPath: folder + "/task").count
        else { return nil }
        self.life = life.number
        age = life.began.duration(to: .now)
        residentKilobytes = pages * sysconf(Int32(_SC_PAGESIZE)) / 1_024
        self.descriptors = descriptors
        self.threads = threads
        self.sessions = sessions
        self.logins = logins
    }

    var description: String {
        "life \(life), \(age.inMilliseconds / 1_000) s: \(residentKilobytes) kB, \(descriptors) descriptors, \(threads) threads, "
            + "\(sessions) sessions, \(logins) logins"
    }
}

/// How what a process holds changed from the first half of its calm moments to the second.
struct Growth: Sendable {
    let life: Int
    let moments: Int
    let from: Duration
    let to: Duration
    let kilobytes: Int
    let descriptors: Int
    let threads: Int
    /// Past what the daemon may have open.
    let sessions: Int
    let logins: Int

    /// nil for a life with too few calm moments.
    init?(_ all: [Vitals], mostSessions: Int) {
        guard all.count >= 4, let first = all.first, let last = all.last else { return nil }
        let (early, late) = (all.prefix(all.count / 2), all.suffix(all.count / 2))
        func growth(_ value: (Vitals) -> Int) -> Int { Self.median(late.map(value)) - Self.median(early.map(value)) }
        life = first.life
        moments = all.count
        (from, to) = (first.age, last.age)
        kilobytes = growth(\.residentKilobytes)
        descriptors = growth(\.descriptors)
        threads = growth(\.threads)
        sessions = max(0, (all.map(\.sessions).max() ?? 0) - mostSessions)
        logins = growth(\.logins)
    }

    private static func median(_ values: [Int]) -> Int {
        let sorted = values.sorted()
        return sorted.isEmpty ? 0 : sorted[sorted.count / 2]
    }
}
