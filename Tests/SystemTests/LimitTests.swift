import CustodyClient
import CustodyProtocol
import Foundation
import SecureMemory
import TestSupport
import Testing

/// Limits of the configuration, as services meet them.
@Suite struct LimitTests {
    private static func limited(_ limit: String) -> String { RunningDaemon.everything + "\n[[limit]]\n" + limit }

    /// What each of many calls gave, without the client's own patience.
    private func outcomes(_ client: CustodyClient, _ blob: [UInt8], count: Int) async throws -> (allowed: Int, limited: Int) {
        var (allowed, limited) = (0, 0)
        for result in try await client.batch(Array(repeating: .unwrap(blob, context: [:]), count: count)) {
            switch result {
            case .success: allowed += 1
            case .failure(let error):
                #expect(error.code == .server(.rateLimited))
                #expect(error.retryAfter != nil)
                limited += 1
            }
        }
        return (allowed, limited)
    }

    @Test func aDaysWorthAndNoMore() async throws {
        let daemon = try await RunningDaemon.start(rules: Self.limited("operations = [\"unwrap\"]\nper-day = 10"))
        try await daemon.withClient { client in
            let blob = try await client.wrap(SecretBytes([1]), key: "root").blob
            let (allowed, limited) = try await outcomes(client, blob, count: 25)
            #expect(allowed == 10)
            #expect(limited == 15)
            // Other operations have no limit, and Status tells who was stopped, how often, and by which line.
            _ = try await client.wrap(SecretBytes([1]), key: "root")
            let status = try await client.status()
            let report = try #require(status.limits.first)
            #expect(status.limits.count == 1)
            #expect(report.refused == 15)
            #expect(report.rule.hasPrefix("custody.toml:"))
            #expect(report.lastRefusedMs > 0)
            #expect(status.denied == 15)
            // A reload does not fill the limit up again.
            _ = try await client.reload()
            #expect(try await outcomes(client, blob, count: 5) == (0, 5))
            // But a limit that is taken away limits no more.
            try daemon.setRules(RunningDaemon.everything)
            _ = try await client.reload()
            #expect(try await outcomes(client, blob, count: 5) == (5, 0))
        }
        let records = try daemon.audit().filter { $0["decision"] as? String == "limited" }
        #expect(records.count == 20)
        #expect(records.allSatisfy { $0["error"] as? String == "rate-limited" && ($0["rule"] as? String)?.hasPrefix("custody.toml:") == true })
        #expect(records.allSatisfy { ($0["blob_sha256"] as? String)?.count == 64 })
    }

    /// The storm comes from one uid, the good service is another: root can be both.
    @Test(.enabled(if: getuid() == 0, "only root can run a program as another user"))
    func aStormOfOnePrincipalIsStoppedAndHurtsNobodyElse() async throws {
        let storm: UInt32 = 64_201
        let daemon = try await RunningDaemon.start(rules: RunningDaemon.everything + """

            [[grant]]
            user = "\(storm)"
            keys = ["root"]
            operations = ["unwrap"]
            [[limit]]
            user = "\(storm)"
            per-second = 50
            burst = 20
            """)
        let blob = try await daemon.withClient { try await $0.wrap(SecretBytes([7]), key: "root").blob }
        chmod(daemon.token.directory.path, 0o711)
        let program = daemon.token.directory.file("custody-load")
        try FileManager.default.copyItem(atPath: Products.directory + "/custody-load", toPath: program)
        let attacker = try ChildProcess("setpriv", arguments: [
            "--reuid=\(storm)", "--regid=\(storm)", "--clear-groups", program, daemon.socket, "storm", "64",
            Data(blob).base64EncodedString(),
        ])
        try await attacker.line(containing: "storming")
        // The good service is served as ever: none of its calls is refused, while hundreds of the storm's are.
        try await daemon.withClient { client in
            try await eventually("a storm that is being stopped") {
                for _ in 0..<20 { #expect(try await client.unwrap(blob).plaintext.exposed() == [7]) }
                return try await client.status().limits.contains { $0.refused > 500 && $0.scope.contains("\(storm)") }
            }
            // What the storm asks for does not stand in the queue to the HSM.
            #expect(try await client.status().queued < 64)
        }
        attacker.signal(SIGKILL)
        try await attacker.end()
        let records = try daemon.audit().filter { ($0["uid"] as? NSNumber)?.uint32Value == storm }
        let limited = records.filter { $0["decision"] as? String == "limited" }
        let allowed = records.filter { $0["decision"] as? String == "allowed" }
        // Those that are still held back when it is killed are recorded a moment later.
        #expect(limited.count > 400)
        #expect(!allowed.isEmpty)
        #expect(limited.count + allowed.count == records.count)
    }
}
