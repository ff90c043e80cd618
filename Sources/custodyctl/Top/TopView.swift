import CustodyProtocol
import Foundation
import ToolSupport

/// One look at the daemon, and what happened since the one before.
struct TopView {
    let lines: [DisplayText]

    /// - Parameters:
    ///   - before: The look before; nil for the first one, which shows what happened since the daemon's start.
    ///   - seconds: How long ago that was.
    init(_ report: WireStatusReport, since before: WireStatusReport?, seconds: Double?) {
        // After a restart the counts begin anew.
        let isSameLife = before.map { Self.isOneLife($0.uptimeMs, report.uptimeMs, seconds ?? 0) } ?? false
        let (old, seconds) = isSameLife ? (before?.metrics, seconds ?? 1) : (nil, max(Double(report.uptimeMs) / 1_000, 0.001))
        let activity = Activity(report.metrics, since: old, seconds: seconds)
        var lines = Self.head(report, since: isSameLife ? before : nil, seconds: seconds)
        lines.append("")
        lines += Self.operations(activity)
        lines.append("")
        lines += Self.keys(report, activity)
        lines.append("")
        lines += Self.calls(activity)
        self.lines = lines
    }

    /// Whether a daemon that was up so long is the one that is up so long now, so many seconds later.
    static func isOneLife(_ before: UInt64, _ now: UInt64, _ seconds: Double) -> Bool {
        now >= before && abs(Double(now - before) / 1_000 - seconds) < max(0.5, seconds / 2)
    }

    private static func head(_ report: WireStatusReport, since before: WireStatusReport?, seconds: Double) -> [DisplayText] {
        let token = report.token
        let state = StatusDocument.name(token.state)
        let name = token.label.isEmpty ? "" : " '\(token.label)'"
        let audit = report.audit
        let lag = audit.sequence - min(audit.checkpointSequence, audit.sequence)
        let written = before.map { Double(audit.sequence - min($0.audit.sequence, audit.sequence)) / seconds }
        let door = report.door
        var lines: [DisplayText] = [
            "custodyd \(report.serverVersion), up \(duration(report.uptimeMs))",
            "token    \(state)\(name) for \(since(token.sinceMs)); "
                + "canary \(milliseconds(Double(token.health.canaryUs) / 1_000_000)); \(token.health.losses) losses; "
                + "\(token.health.hungThreads) of \(token.health.hungThreadsLimit) threads hang",
            "queue    \(report.queued) of \(report.queueLimit) waiting for \(report.sessions) "
                + (report.sessions == 1 ? "session" : "sessions"),
            "clients  \(door.connections) of \(door.connectionsLimit), \(door.bytesInFlight / 1_024) KiB in flight; "
                + "turned away: \(door.connectionsRefused) connections, \(door.requestsRefused) requests",
            "audit    line \(audit.sequence)\(written.map { ", \(rate($0))/s" } ?? ""), "
                + "\(lag) after the latest checkpoint, durability \(audit.durability)",
        ]
        let limited = report.limits.reduce(0) { $0 + $1.refused }
        if limited > 0 { lines.append("limits   refused \(limited) operations") }
        let troubles = [
            token.detail, door.detail, report.auditWritable ? "" : "the audit log can't be written: \(audit.detail)", audit.checkpointDetail,
            report.configuration.detail,
        ]
        lines += troubles.filter { !$0.isEmpty }.map { "TROUBLE  \($0)" }
        return lines
    }

    private static func operations(_ activity: Activity) -> [DisplayText] {
        var table = Table(["OPERATION", "ALLOWED/s", "DENIED/s", "LIMITED/s", "FAILED/s", "P50", "P99"])
        for (operation, rates) in activity.operations {
            let latency = activity.latencies[operation]
            table.add(
                operation, rate(rates["allowed"] ?? 0), rate(rates["denied"] ?? 0), rate(rates["limited"] ?? 0),
                rate(rates["failed"] ?? 0), latency.map { milliseconds($0.p50) } ?? "-", latency.map { milliseconds($0.p99) } ?? "-")
        }
        return table.lines
    }

    private static func keys(_ report: WireStatusReport, _ activity: Activity) -> [DisplayText] {
        var table = Table(["KEY", "VERSION", "STATE", "USES", "OPERATIONS/s"])
        for key in report.keys {
            for (index, version) in key.versions.filter({ $0.version > 0 }).enumerated() {
                table.add(
                    key.name, "\(version.version)\(version.wraps ? " wraps" : "")", StatusDocument.name(version.state),
                    "\(version.uses)", index == 0 ? rate(activity.keys[key.name] ?? 0) : "")
            }
        }
        return table.lines
    }

    private static func calls(_ activity: Activity) -> [DisplayText] {
        var table = Table(["PKCS#11", "CALLS/s", "P50", "P99", "ERRORS/s"])
        for (function, call) in activity.calls {
            table.add(
                function, rate(call.rate), milliseconds(call.p50), milliseconds(call.p99), rate(activity.errors[function] ?? 0))
        }
        return table.lines
    }

    // MARK: Forms

    private static func rate(_ value: Double) -> String {
        value >= 100 || value == 0 ? "\(Int(value.rounded()))" : String(format: "%.1f", value)
    }

    private static func milliseconds(_ seconds: Double) -> String {
        seconds < 0.1 ? String(format: "%.2f ms", seconds * 1_000) : String(format: "%.0f ms", seconds * 1_000)
    }

    private static func since(_ milliseconds: UInt64) -> String {
        let now = UInt64(max(0, Date().timeIntervalSince1970 * 1_000))
        return milliseconds == 0 ? "-" : duration(now > milliseconds ? now - milliseconds : 0)
    }

    private static func duration(_ milliseconds: UInt64) -> String {
        let seconds = milliseconds / 1_000
        if seconds < 120 { return "\(seconds) s" }
        if seconds < 7_200 { return "\(seconds / 60) min" }
        if seconds < 172_800 { return "\(seconds / 3_600) h" }
        return "\(seconds / 86_400) days"
    }
}
