import Foundation
import TestSupport
import Testing

@testable import Custody

/// The audit log in a real systemd journal.
@Suite struct AuditRealJournalTests {
    private static let journald = "/lib/systemd/systemd-journald"
    private static var canRun: Bool {
        getuid() == 0 && FileManager.default.isExecutableFile(atPath: journald)
            && (try? String(contentsOfFile: "/etc/machine-id", encoding: .utf8))?.isEmpty == false
    }

    /// A journald with a /run of its own, so that it needs neither systemd nor the machine's journal; the test sees that
    /// folder through /proc.
    @Test(.enabled(if: canRun, "needs root, systemd-journald and a machine id"))
    func theChainHoldsOverWhatTheJournalGivesBack() async throws {
        let script = """
            mount --make-rprivate / && mount -t tmpfs tmpfs /run &&
            mkdir -p /run/systemd/journal "/run/log/journal/$(cat /etc/machine-id)" && exec \(Self.journald)
            """
        let journald = try ChildProcess("unshare", arguments: ["--mount", "sh", "-c", script])
        let root = "/proc/\(journald.processID)/root/run"
        let socket = "\(root)/systemd/journal/socket"
        _ = try await journald.value("journald's socket") { FileManager.default.fileExists(atPath: socket) ? true : nil }

        let place = try AuditPlace()
        var settings = place.settings()
        settings.journal = true
        settings.journalSocket = socket
        let log = try AuditLog(settings)
        for _ in 0..<500 { try log.append([.example(), .example()]) }
        // Too long for a datagram.
        try log.append([.example(context: .longestInLog, onBehalfOf: .longestInLog)])
        try log.append([.example(.denied(reason: "é\"\\ no grant"))])
        log.close()
        let expected = try place.trail().rawLines
        #expect(expected.count == 1_003)
        let arguments = ["--directory", "\(root)/log/journal", "--all", "-o", "cat", "SYSLOG_IDENTIFIER=custody-audit"]
        try await eventually("all lines in the journal") {
            try await run("journalctl", arguments: arguments).output.split(separator: "\n").count == expected.count
        }
        let trail = AuditTrail(bytes: Array(try await run("journalctl", arguments: arguments).output.utf8))
        #expect(trail.breaks == [])
        #expect(trail.rawLines == expected)
        let third = try await run("journalctl", arguments: arguments + ["CUSTODY_SEQUENCE=3"])
        #expect(Array(third.output.utf8) == expected[2])
        journald.signal(SIGTERM)
        try await journald.end()
    }
}
