import Foundation

/// The table at the end.
struct Report {
    let book: Book
    let plan: Plan
    let duration: Duration
    let growths: [Growth]
    let softHSMKilobytesPerLogin: Double

    var isClean: Bool { [Book.Verdict.lost, .wrong, .leak].allSatisfy { book.violations($0) == 0 } && !growths.isEmpty }

    func show() {
        say("\nSoak, seed \(plan.seed), \(duration.inMilliseconds / 1_000) s")
        section("operations checked", book.counts("checked "))
        section("refused, as may be", book.counts("refused "))
        section("what happened", book.counts("did "))
        section("faults by function", book.counts("fault "))
        section("", [
            ("calls that faults were applied to", book.total("hits of faults")),
            ("answers of an older version under a disturbance", book.total("answers of an older version under a disturbance")),
            ("lines of the audit log", book.total("lines of the audit log")), ("blobs kept", book.total("kept blobs")),
            ("of those opened at the end", book.total("opened at the end")), ("calm moments", book.total("calm moments")),
        ])
        showRecoveries()
        showGrowths()
        for account in book.accounts { say("\n\(account)") }
        say("")
        for verdict in [Book.Verdict.lost, .wrong, .leak] {
            let isMeasured = verdict != .leak || !growths.isEmpty
            say("\(verdict == .leak ? "leaks" : verdict.rawValue) = " + (isMeasured ? "\(book.violations(verdict))" : "not measured"))
        }
    }

    private func section(_ title: String, _ lines: [(name: String, count: Int)]) {
        let sum = title.isEmpty ? "" : "\(title): \(lines.reduce(0) { $0 + $1.count })"
        say(title.isEmpty ? "" : "\n\(sum)")
        for line in lines { say("  \(pad(line.name, 52))\(right("\(line.count)", 10))") }
    }

    /// From the end of what disturbed to the first success.
    private func showRecoveries() {
        let all = book.recoveries
        say("\n\(pad("service again after (ms)", 40))\(right("times", 8))\(right("p50", 8))\(right("p99", 8))\(right("max", 8))")
        let groups = [("all", all)] + Dictionary(grouping: all, by: \.name).sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        for (name, recoveries) in groups {
            let sorted = recoveries.map(\.after.inMilliseconds).sorted()
            guard let most = sorted.last else { continue }
            func percentile(_ part: Int) -> Int { sorted[min(sorted.count - 1, sorted.count * part / 100)] }
            say("  \(pad(name, 38))\(right("\(sorted.count)", 8))\(right("\(percentile(50))", 8))\(right("\(percentile(99))", 8))\(right("\(most)", 8))")
        }
    }

    private func showGrowths() {
        say("\nwhat grew from the first half of the calm moments in a life to the second")
        if growths.isEmpty { say("  no life had four calm moments") }
        for growth in growths {
            say(
                "  life \(growth.life), \(growth.moments) moments, \(growth.from.inMilliseconds / 1_000)-\(growth.to.inMilliseconds / 1_000) s: "
                    + "\(growth.kilobytes) kB, \(growth.descriptors) descriptors, \(growth.threads) threads, \(growth.sessions) sessions too many "
                    + "(\(growth.logins) logins)")
        }
        say(String(
            format: "  allowed: %d kB, and what SoftHSM itself leaves at each C_Initialize, C_Login, C_Finalize: %.1f kB here",
            CalmMoments.slackKilobytes, softHSMKilobytesPerLogin))
    }

    private func pad(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(1, width - text.count)) }
    private func right(_ text: String, _ width: Int) -> String { String(repeating: " ", count: max(1, width - text.count)) + text }
}
