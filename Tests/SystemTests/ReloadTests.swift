import CustodyClient
import CustodyProtocol
import Foundation
import SecureMemory
import TestSupport
import Testing

/// New rules without a restart, by SIGHUP and over the socket: all of them or none.
@Suite struct ReloadTests {
    private static let wrapOnly = """
        [[grant]]
        user = "\(getuid())"
        keys = ["root"]
        operations = ["wrap", "status", "reload"]
        """

    private func reload(_ daemon: RunningDaemon) async throws -> ProcessResult {
        try await run("custodyctl", arguments: ["reload", "--config", daemon.configurationFile])
    }

    @Test func rulesChangeUnderAConnection() async throws {
        let daemon = try await RunningDaemon.start()
        try await daemon.withClient { client in
            let blob = try await client.wrap(SecretBytes([1]), key: "root").blob
            _ = try await client.unwrap(blob)
            try daemon.setRules(Self.wrapOnly)
            // Nothing changes before somebody says so.
            _ = try await client.unwrap(blob)
            let done = try await reload(daemon)
            #expect(done.status == .exited(0), "\(done.errors)")
            #expect(done.output.contains("1 grants, 0 denials, 0 limits"))
            await expectError(.server(.denied)) { try await client.unwrap(blob) }
            _ = try await client.wrap(SecretBytes([1]), key: "root")
            // Back again, by the signal.
            try daemon.setRules(RunningDaemon.everything)
            daemon.process.signal(SIGHUP)
            try await eventually("the old rules") { (try? await client.unwrap(blob)) != nil }
        }
        #expect(try daemon.events("configuration").map { $0["result"] as? String } == ["loaded", "loaded"])
        #expect(try daemon.events("configuration").allSatisfy { ($0["sha256"] as? String)?.count == 64 })
    }

    @Test(arguments: [
        ("[[grant]]\nuser = \"no-such-user\"\nkeys = [\"*\"]\noperations = [\"status\"]", "no user 'no-such-user'"),
        ("[[grant]]\nuser = \"0\"\nkeys = [\"*\"]\noperations = [\"unrap\"]", "no operation 'unrap'"),
        ("[[grant]]\nuser = \"0\"\nkeys = [\"paymnts\"]\noperations = [\"unwrap\"]", "names key 'paymnts', which is not on the token"),
        ("[[grant", "custody.toml:"),
        (RunningDaemon.everything + "\n[log]\nlevel = \"debug\"", "[log] can't change while the daemon runs"),
    ])
    func aWrongFileChangesNothing(_ rules: String, _ reason: String) async throws {
        let daemon = try await RunningDaemon.start()
        try await daemon.withClient { client in
            let blob = try await client.wrap(SecretBytes([1]), key: "root").blob
            try daemon.setRules(rules)
            await expectError(.server(.configurationInvalid)) { try await client.reload() }
            // custodyctl reads the socket's path from the file, so it is told here.
            let refused = try await run("custodyctl", arguments: ["reload", "--socket", daemon.socket])
            #expect(refused.status == .exited(1))
            #expect(refused.errors.contains(reason), "\(refused.errors)")
            #expect(refused.errors.contains("nothing was changed"))
            _ = try await client.unwrap(blob)
            let status = try await client.status()
            #expect(status.configuration.detail.contains(reason), "\(status.configuration.detail)")
            #expect(status.configuration.grants == 1)
            // SIGHUP on a broken file changes nothing either.
            daemon.process.signal(SIGHUP)
            try await eventually("the third refusal in the log") {
                try daemon.events("configuration").filter { $0["result"] as? String == "refused" }.count == 3
            }
            _ = try await client.unwrap(blob)
            // And once it is repaired the trouble is over.
            try daemon.setRules(RunningDaemon.everything)
            #expect(try await client.reload().detail.isEmpty)
            #expect(try await client.status().configuration.detail.isEmpty)
        }
        #expect(daemon.process.status == nil)
    }

    /// Files that ended a running daemon, when a library read them: by overflowing the stack, or by its own mistakes.
    @Test(arguments: [
        (String(repeating: "a.", count: 200_000) + "a = 1", line: 1, says: "column 2: keys with dots are not read"),
        ("[" + String(repeating: "a.", count: 200_000) + "a]", line: 1, says: "column 1: a header has at most 8 names"),
        ("a = " + String(repeating: "[", count: 400_000), line: 1, says: "column 13: arrays and inline tables nest at most 8 deep"),
        ("a = " + String(repeating: "{a=", count: 200_000), line: 1, says: "column 29: arrays and inline tables nest at most 8 deep"),
        ("x = [ 1,\n # comment\n } ]", line: 3, says: "column 2: a value is expected here, but there is '}'"),
        ("x = 1\n [\n TOML [", line: 2, says: "column 3: a header names its table"),
        ("x = 1979-05-27TK", line: 1, says: "column 5: dates and times have no place here"),
        ("x = 1\n# \u{0}", line: 2, says: "column 3: there is a NUL"),
        (String(repeating: "#", count: 2_000_000), line: nil, says: "the file has more than 1048576 bytes"),
    ] as [(String, Int?, String)])
    func aFileThatIsNoTOMLLeavesTheRulesInForce(_ rules: String, _ line: Int?, _ says: String) async throws {
        let daemon = try await RunningDaemon.start()
        try await daemon.withClient { client in
            let blob = try await client.wrap(SecretBytes([1]), key: "root").blob
            try daemon.setRules(rules)
            let before = try String(contentsOfFile: daemon.configurationFile, encoding: .utf8).dropLast(rules.count)
            let place = line.map { ":\(before.count { $0 == "\n" } + $0): " } ?? ":1: "
            daemon.process.signal(SIGHUP)
            try await eventually("the refusal in Status") {
                let detail = try await client.status().configuration.detail
                return detail.contains(place + says) || detail.contains(place) && line == nil && detail.contains(says)
            }
            await expectError(.server(.configurationInvalid)) { try await client.reload() }
            _ = try await client.unwrap(blob)
            try daemon.setRules(RunningDaemon.everything)
            #expect(try await client.reload().detail.isEmpty)
        }
        #expect(daemon.process.status == nil)
    }

    @Test func reloadingNeedsAGrantThatNamesIt() async throws {
        let daemon = try await RunningDaemon.start(rules: """
            [[grant]]
            user = "\(getuid())"
            keys = ["*"]
            operations = ["wrap", "unwrap", "status"]
            """)
        try await daemon.withClient { client in
            await expectError(.server(.denied)) { try await client.reload() }
        }
        #expect(try daemon.events("configuration").isEmpty)
        let record = try #require(try daemon.audit().last)
        #expect(record["operation"] as? String == "reload")
        #expect(record["decision"] as? String == "denied")
    }

    @Test func manyReloadsUnderLoadBreakNothing() async throws {
        let daemon = try await RunningDaemon.start()
        let blob = try await daemon.withClient { try await $0.wrap(SecretBytes([7]), key: "root").blob }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<16 {
                group.addTask {
                    try await daemon.withClient { client in
                        for _ in 0..<100 {
                            let opened = try await client.unwrap(blob)
                            #expect(opened.plaintext.exposed() == [7])
                        }
                    }
                }
            }
            group.addTask {
                try await daemon.withClient { client in for _ in 0..<50 { _ = try await client.reload() } }
            }
            for _ in 0..<50 { daemon.process.signal(SIGHUP) }
            try await group.waitForAll()
        }
        let unwraps = try daemon.audit().filter { $0["operation"] as? String == "unwrap" }
        #expect(unwraps.count == 1_600)
        #expect(unwraps.allSatisfy { $0["decision"] as? String == "allowed" })
    }

    @Test func keysThatAreNotThereAreToldOfAtTheStart() async throws {
        let daemon = try await RunningDaemon.start(rules: RunningDaemon.everything + """

            [[grant]]
            user = "\(getuid())"
            keys = ["paymnts"]
            operations = ["wrap"]
            """)
        try await daemon.process.line(containing: "the configuration names unknown keys")
        try await daemon.withClient { client in
            #expect(try await client.status().configuration.detail.contains("names key 'paymnts'"))
            // Made after all: no reload is needed for that.
            let made = try await run("custodyctl", arguments: ["key", "generate", "paymnts", "--config", daemon.configurationFile])
            #expect(made.status == .exited(0))
            try await eventually("no trouble") { try await client.status().configuration.detail.isEmpty }
        }
    }
}
