import ByteEncoding
import Crypto
import CustodyClient
import CustodyProtocol
import Foundation
import SecureMemory
import TestSupport
import Testing

/// The whole way of the audit log: written by the daemon, vouched for by the token, proved by `custodyctl audit verify`.
@Suite struct AuditProofTests {
    private func ctl(_ daemon: RunningDaemon, _ arguments: String..., expecting status: Int32 = 0) async throws -> ProcessResult {
        let result = try await run("custodyctl", arguments: arguments + ["--config", daemon.configurationFile])
        guard result.status == .exited(status) else { throw UnexpectedResult(result) }
        return result
    }

    /// A daemon whose token has an audit key, and that makes checkpoints often.
    private func start() async throws -> RunningDaemon {
        let daemon = try await RunningDaemon.start(audit: "checkpoint-interval-ms = 50\ntoken-anchor-interval-ms = 100")
        _ = try await ctl(daemon, "audit", "init")
        // It looks for a key again after a while; started anew it finds it at once.
        return try await restarted(daemon)
    }

    private func restarted(_ daemon: RunningDaemon, by signal: Int32 = SIGTERM) async throws -> RunningDaemon {
        daemon.process.signal(signal)
        try await daemon.process.end()
        return try await daemon.again()
    }

    private func wrap(_ daemon: RunningDaemon, _ count: Int = 3) async throws {
        try await daemon.withClient { for _ in 0..<count { _ = try await $0.wrap(SecretBytes([1]), key: "root", context: ["tenant": "acme"]) } }
    }

    /// Waits until everything that is written is covered and anchored on the token.
    private func covered(_ daemon: RunningDaemon) async throws {
        try await eventually("a checkpoint, anchored on the token") {
            // Status writes a line of its own, so that the last ones are never covered: that one checkpoint is new is enough.
            try await daemon.withClient { client in
                let before = try await client.status().audit.sequence
                return try await eventualValue("a newer checkpoint") {
                    let audit = try await client.status().audit
                    return audit.checkpointSequence >= before ? audit.anchor == "token and state directory" : nil
                }
            }
        }
    }

    @Test func wholeOverRotationsRestartsAndAKill() async throws {
        var daemon = try await start()
        try await wrap(daemon)
        try FileManager.default.moveItem(atPath: daemon.auditFile, toPath: daemon.auditFile + ".2")
        try await wrap(daemon)
        daemon = try await restarted(daemon, by: SIGKILL)
        try await wrap(daemon)
        daemon = try await restarted(daemon)
        daemon.process.signal(SIGSTOP)
        try FileManager.default.moveItem(atPath: daemon.auditFile, toPath: daemon.auditFile + ".1")
        daemon.process.signal(SIGCONT)
        try await wrap(daemon)
        // Live, and after the end.
        let live = try await ctl(daemon, "audit", "verify", "--from-start")
        #expect(live.output.contains("The log is whole"))
        daemon.process.signal(SIGTERM)
        try await daemon.process.end()
        let after = try await ctl(daemon, "audit", "verify", "--from-start", "--json")
        let report = try #require(try JSONSerialization.jsonObject(with: Data(after.output.utf8)) as? [String: Any])
        #expect(report["whole"] as? Bool == true, "\(after.output)")
        // Nothing but the last checkpoint's own line is in the window.
        #expect((report["window"] as? [String: Any])?["lines"] as? Int == 1, "\(after.output)")
    }

    @Test func cutBackByWhoeverCanWriteTheFile() async throws {
        var daemon = try await start()
        try await wrap(daemon)
        try await covered(daemon)
        let early = try Data(contentsOf: URL(fileURLWithPath: daemon.auditFile))
        try await wrap(daemon, 10)
        daemon.process.signal(SIGTERM)
        try await daemon.process.end()
        let url = URL(fileURLWithPath: daemon.auditFile)
        let whole = try Data(contentsOf: url)
        _ = try await ctl(daemon, "audit", "verify")
        // Cut back to where a checkpoint vouched for it.
        try early.write(to: url)
        let cut = try await ctl(daemon, "audit", "verify", expecting: 1)
        #expect(cut.output.contains("NOT WHOLE"))
        // A daemon that is started on it says so for ever.
        daemon = try await daemon.again()
        try await wrap(daemon)
        #expect(try daemon.events("log-resumes").count == 1)
        daemon.process.signal(SIGTERM)
        try await daemon.process.end()
        _ = try await ctl(daemon, "audit", "verify", expecting: 1)
        // With the state directory rolled back as well, the token still knows.
        try early.write(to: url)
        try FileManager.default.removeItem(atPath: daemon.token.directory.file("state/audit-anchor"))
        _ = try await ctl(daemon, "audit", "verify", expecting: 1)
        daemon = try await daemon.again()
        try await daemon.process.line(containing: "lines of the audit log are missing")
        daemon.process.signal(SIGTERM)
        try await daemon.process.end()
        _ = try await ctl(daemon, "audit", "verify", expecting: 1)
        #expect(whole.count > early.count)
    }

    /// A new log in the place of one that the token vouches for: the token knows whose log that was.
    @Test func wipedWithItsStateDirectory() async throws {
        var daemon = try await start()
        try await wrap(daemon)
        daemon.process.signal(SIGTERM)
        try await daemon.process.end()
        try FileManager.default.removeItem(atPath: daemon.auditFile)
        try FileManager.default.removeItem(atPath: daemon.token.directory.file("state"))
        daemon = try await daemon.again()
        try await daemon.process.line(containing: "lines of the audit log are missing")
        try await wrap(daemon)
        daemon.process.signal(SIGTERM)
        try await daemon.process.end()
        let refused = try await ctl(daemon, "audit", "verify", expecting: 1)
        #expect(refused.output.contains("in whose place this one stands"), "\(refused.output)")
        // Told once, and for ever.
        daemon = try await restarted(try await daemon.again())
        #expect(try daemon.events("anchor-unmet").count == 1)
    }

    @Test func anEditIsNamedByItsLine() async throws {
        let daemon = try await start()
        try await wrap(daemon)
        daemon.process.signal(SIGTERM)
        try await daemon.process.end()
        let url = URL(fileURLWithPath: daemon.auditFile)
        var lines = try String(contentsOf: url, encoding: .utf8).split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let index = try #require(lines.firstIndex { $0.contains("\"operation\":\"wrap\"") })
        lines[index] = lines[index].replacing("\"tenant\":\"acme\"", with: "\"tenant\":\"evil\"")
        try lines.joined(separator: "\n").write(to: url, atomically: true, encoding: .utf8)
        let refused = try await ctl(daemon, "audit", "verify", expecting: 1)
        #expect(refused.output.contains("line \(index + 1)"), "\(refused.output)")
    }

    @Test func aDecisionSaysWhoDidWhatToWhichBlob() async throws {
        let daemon = try await RunningDaemon.start()
        let (blob, new) = try await daemon.withClient { client in
            let blob = try await client.wrap(SecretBytes([1]), key: "root", context: ["tenant": "acme"]).blob
            let new = try await client.rewrap(blob, context: ["tenant": "acme"]).blob
            await expectError(.server(.decryptionFailed)) { try await client.unwrap(new, context: ["tenant": "other"]) }
            await expectError(.server(.keyNotFound)) { try await client.wrap(SecretBytes([1]), key: "absent") }
            return (blob, new)
        }
        func digest(_ blob: [UInt8]) -> String { hexadecimal(Array(SHA256.hash(data: blob))) }
        let records = try daemon.audit()
        #expect(records.map { $0["operation"] as? String } == ["wrap", "rewrap", "unwrap", "wrap"])
        for record in records {
            #expect(record["uid"] as? Int == Int(getuid()))
            #expect(record["pid"] as? Int == Int(getpid()))
            #expect(record["user"] as? String == NSUserName())
            #expect(record["group"] is String)
            #expect(record["gids"] as? [Int] == [], "no rule names a group")
            #expect((record["time"] as? String)?.hasSuffix("Z") == true)
            #expect((record["rule"] as? String)?.hasPrefix("custody.toml:") == true)
            #expect(record["decision"] as? String == "allowed")
            for name in ["sequence", "connection", "request", "item", "latency_us"] { #expect(record[name] is Int, "\(name)") }
        }
        for record in records.prefix(3) {
            #expect(record["key"] as? String == "root")
            #expect(record["version"] as? Int == 1)
            #expect((record["key_id"] as? String)?.count == 32)
        }
        #expect(records[0]["blob_sha256"] as? String == digest(blob))
        #expect(records[0]["new_blob_sha256"] == nil)
        #expect(records[1]["blob_sha256"] as? String == digest(blob))
        #expect(records[1]["new_blob_sha256"] as? String == digest(new))
        #expect(records[2]["blob_sha256"] as? String == digest(new))
        #expect((records[2]["context"] as? [String: String]) == ["tenant": "other"])
        #expect(records[2]["error"] as? String == "decryption-failed")
        #expect(records[3]["error"] as? String == "key-not-found")
        let trace = try await run("custodyctl", arguments: ["audit", "show", "--config", daemon.configurationFile, "--blob", digest(blob), "--json"])
        let found = try JSONSerialization.jsonObject(with: Data(trace.output.utf8)) as? [[String: Any]]
        #expect(found?.map { $0["operation"] as? String } == ["wrap", "rewrap"])
    }
}
