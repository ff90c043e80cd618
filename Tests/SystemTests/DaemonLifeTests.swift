import CustodyClient
import CustodyProtocol
import Foundation
import SecureMemory
import TestSupport
import Testing

@Suite struct DaemonLifeTests {
    @Test func sigtermDrainsAndLeavesCleanly() async throws {
        let daemon = try await RunningDaemon.start(server: "requests-in-flight = 1")
        let connection = try RawConnection(daemon.socket)
        try connection.send(WireRequest(.wrap([1])), id: 1)
        _ = try #require(try connection.receive())
        // One the daemon has at a time, the others are still with the kernel.
        for id in UInt32(2)...100 { try connection.send(WireRequest(.wrap(Array(repeating: 1, count: 1_000))), id: id) }
        daemon.process.signal(SIGTERM)
        var answers = 1
        while let answer = try connection.receive() {
            let error = answer.response.results.first?.error.code ?? answer.response.error.code
            #expect(error == 0 || error == ErrorCode.shuttingDown.rawValue)
            answers += 1
        }
        #expect(answers == 100, "every request that arrived is answered")
        let end = try await daemon.process.end()
        #expect(end.status == .exited(0))
        #expect(end.errors.contains("custodyd has stopped"))
        #expect(!FileManager.default.fileExists(atPath: daemon.socket))
    }

    @Test func slowLookIsWarnedOf() async throws {
        func errors(_ milliseconds: Int) async throws -> String {
            let daemon = try await RunningDaemon.start(keys: "look-interval-ms = \(milliseconds)")
            try await daemon.withClient { _ = try await $0.status() }
            daemon.process.signal(SIGTERM)
            return try await daemon.process.end().errors
        }
        #expect(try await errors(1_001).contains("look-interval-ms under [keys] is above 1000"))
        #expect(try await !errors(1_000).contains("look-interval-ms"))
    }

    @Test func aSecondDaemonDoesNotTakeTheSocketAway() async throws {
        let daemon = try await RunningDaemon.start()
        let second = try await run("custodyd", arguments: ["--config", daemon.configurationFile])
        #expect(second.status == .exited(1))
        #expect(second.errors.contains("another daemon uses the state directory"))
        // Nor with a state and an audit log of its own.
        let text = try String(contentsOfFile: daemon.configurationFile, encoding: .utf8)
        let other = try daemon.token.directory.write("other.toml", text.replacing("audit.jsonl", with: "other.jsonl").replacing("\"state\"", with: "\"other\""))
        let third = try await run("custodyd", arguments: ["--config", other])
        #expect(third.status == .exited(1))
        #expect(third.errors.contains("another daemon listens on"))
        try await daemon.withClient { _ = try await $0.status() }
    }

    @Test func noCoreAndNotDumpable() async throws {
        let daemon = try await RunningDaemon.start()
        let limits = try String(contentsOfFile: "/proc/\(daemon.process.processID)/limits", encoding: .utf8)
        let core = try #require(limits.split(separator: "\n").first { $0.hasPrefix("Max core file size") })
        #expect(core.split(separator: " ").filter { $0 == "0" }.count == 2)
        // The files of a process that is not dumpable belong to root, whoever runs it.
        let owner = try FileManager.default.attributesOfItem(atPath: "/proc/\(daemon.process.processID)/mem")[.ownerAccountID]
        #expect(owner as? Int == 0)
    }

    @Test func aTokenThatIsNotThereYetIsWaitedFor() async throws {
        let token = try await SoftHSMToken(label: nil)
        try RunningDaemon.configure(token, uri: "pkcs11:token=late")
        let process = try ChildProcess("custodyd", arguments: ["--config", token.directory.file("custody.toml")])
        try await process.line(containing: "token unavailable")
        let client = CustodyClient(.init(socket: token.directory.file("s"), deadline: .seconds(60)))
        #expect(try await client.status().token.state != .ready)
        // A client waits for a token that may come, but not past its deadline.
        let impatient = CustodyClient(.init(socket: token.directory.file("s"), deadline: .milliseconds(300)))
        await #expect(throws: CustodyClientError.self) { try await impatient.wrap(SecretBytes([1]), key: "root") }
        await impatient.shutdown()
        try await token.initialize(label: "late")
        try await process.line(containing: "token ready")
        try await eventually("ready") { try await client.status().token.state == .ready }
        await client.shutdown()
    }

    /// SoftHSM shows a token whose storage has gone as one without objects, for ever: the daemon sees through it.
    @Test func aTokenThatVanishesAndComesBackNeedsNobody() async throws {
        let daemon = try await RunningDaemon.start()
        let (tokens, away) = (daemon.token.directory.file("tokens"), daemon.token.directory.file("away"))
        try await daemon.withClient { client in
            let before = try await client.wrap(SecretBytes([1, 2, 3]), key: "root")
            try FileManager.default.moveItem(atPath: tokens, toPath: away)
            try await eventually("the loss to be seen") { try await client.status().token.state != .ready }
            try FileManager.default.moveItem(atPath: away, toPath: tokens)
            try await eventually("the token to be ready again") { try await client.status().token.state == .ready }
            #expect(try await client.unwrap(before.blob).plaintext.exposed() == [1, 2, 3])
        }
    }

    /// What a daemon wrapped and unwrapped is not in its memory afterwards: not in the event loop's buffers, not in the
    /// decoder's copies, not in the module's.
    @Test(.enabled(if: getuid() == 0, "only root may read the memory of a process that is not dumpable"))
    func noPlaintextStaysInMemory() async throws {
        let daemon = try await RunningDaemon.start()
        // Never whole in one place of this source's own making, so that a hit is the daemon's.
        let marker = Array("a plaintext that must not stay: ".utf8) + (0..<32).map { _ in UInt8.random(in: 33...126) }
        try await daemon.withClient { client in
            let wrapped = try await client.wrap(SecretBytes(marker), key: "root")
            let opened = try await client.unwrap(wrapped.blob)
            #expect(opened.plaintext.exposed() == marker)
            let dataKey = try await client.generateDataKey(key: "root")
            let secret = try #require(dataKey.plaintext).exposed()
            // The connection is open still: its buffers are alive.
            let memory = try ProcessMemory(daemon.process.processID)
            #expect(try memory.count(of: Array("custodyd".utf8)) > 0, "the search itself works")
            #expect(try memory.count(of: Array(marker.suffix(32))) == 0)
            #expect(try memory.count(of: secret) == 0)
            #expect(try memory.count(of: Array(SoftHSMToken.userPIN.utf8)) == 0)
        }
    }
}
