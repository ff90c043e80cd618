import CustodyClient
import CustodyProtocol
import Foundation
import PKCS11
import SecureMemory
import TestSupport
import Testing

/// Calls of the HSM's module that do not return: their threads are given up and replaced, up to a bound.
@Suite struct HangTests {
    private static let quick = "hung-call-ms = 100"

    /// The threads that call the HSM. Swift's own come and go as they like.
    private func threads(_ daemon: RunningDaemon) throws -> Int {
        let folder = "/proc/\(daemon.process.processID)/task"
        return try FileManager.default.contentsOfDirectory(atPath: folder).count { thread in
            // It may end meanwhile.
            let name = (try? String(contentsOfFile: "\(folder)/\(thread)/comm", encoding: .utf8)) ?? ""
            return ["token-", "notary"].contains { name.hasPrefix($0) }
        }
    }

    private func ctl(_ daemon: RunningDaemon, _ arguments: String...) async throws -> String {
        let result = try await run("custodyctl", arguments: arguments + ["--config", daemon.configurationFile])
        guard result.status == .exited(0) else { throw UnexpectedResult(result) }
        return result.output
    }

    @Test func aHungWorkerIsReplacedAndComesBackToNothing() async throws {
        let faults = try FaultModule()
        let daemon = try await RunningDaemon.start(faults: faults, tokenLines: Self.quick)
        try await daemon.withClient { client in
            let blob = try await client.wrap(SecretBytes([1, 2]), key: "root").blob
            try await eventually("the sessions of login, worker and notary") { faults.openSessions == 3 }
            let (finalized, threads) = (faults.calls(of: .finalize), try threads(daemon))
            let hang = faults.arm(.hangs(), on: .encrypt, times: 1)
            let impatient = daemon.client(deadline: .milliseconds(200))
            let code = try await errorCode { try await impatient.wrap(SecretBytes([3]), key: "root") }
            #expect(code == .server(.deadlineExceeded) || code == .deadlineExceeded)
            await impatient.shutdown()
            // Others are served meanwhile, also what wraps.
            #expect(try await client.unwrap(blob).plaintext.exposed() == [1, 2])
            _ = try await client.wrap(SecretBytes([4]), key: "root")
            #expect(hang.held == 1)
            let during = try await client.status().token
            #expect(during.state == .degraded)
            #expect(during.detail.contains("1 of at most 8 threads hang"))
            #expect((during.health.hungThreads, during.health.hungThreadsLimit) == (1, 8))
            hang.clear()
            try await eventually("a token that is well") { try await client.status().token.state == .ready }
            #expect(try await client.status().token.health.hungThreads == 0)
            try await eventually("the thread's and its session's end") {
                try self.threads(daemon) == threads && faults.openSessions == 3
            }
            #expect(faults.calls(of: .finalize) == finalized, "nothing was connected anew")
        }
        try await daemon.process.line(containing: "token degraded")
        _ = try daemon.audit()
    }

    /// The thread of a batch is given up in the first of its slices and comes back in time: others do the rest of it.
    @Test func aBatchOutlivesTheThreadThatBeganWithIt() async throws {
        let faults = try FaultModule()
        let daemon = try await RunningDaemon.start(faults: faults, tokenLines: Self.quick)
        try await daemon.withClient { client in
            let hang = faults.arm(.hangs(), on: .encrypt, times: 1)
            async let answers = client.batch((0..<60).map { .wrap(SecretBytes([UInt8($0)]), key: "root", context: [:]) })
            try await eventually("a thread that is given up") { try await client.status().token.health.hungThreads == 1 }
            hang.clear()
            let all = try await answers
            #expect(all.count == 60)
            for (number, answer) in all.enumerated() {
                guard case .wrapped(let wrapped) = try answer.get() else { throw TimedOut("a blob", after: .zero) }
                #expect(try await client.unwrap(wrapped.blob).plaintext.exposed() == [UInt8(number)])
            }
        }
        #expect(try daemon.audit().count { $0["operation"] as? String == "wrap" } == 60)
    }

    /// What the hung thread had taken along and not begun is done by its successor; what it had begun is answered by itself
    /// if it returns in time.
    @Test func onlyTheHungCallItselfWaits() async throws {
        let faults = try FaultModule()
        let daemon = try await RunningDaemon.start(faults: faults, tokenLines: Self.quick)
        try await daemon.withClient { client in
            let hang = faults.arm(.hangs(), on: .encrypt, times: 1)
            try await withThrowingTaskGroup(of: [UInt8].self) { tasks in
                for number in UInt8(0)..<40 {
                    tasks.addTask {
                        let blob = try await client.wrap(SecretBytes([number]), key: "root").blob
                        return [number] + (try await client.unwrap(blob).plaintext.exposed())
                    }
                }
                var done = 0
                while let answer = try await tasks.next() {
                    #expect(answer.count == 2 && answer[0] == answer[1])
                    done += 1
                    // All but the one in the call.
                    if done == 39 { hang.clear() }
                }
                #expect(done == 40)
            }
        }
        #expect(try daemon.audit().count { $0["decision"] as? String == "allowed" } >= 80)
    }

    @Test func pastTheBoundTheServiceManagerIsLetRestart() async throws {
        let faults = try FaultModule()
        let directory = try TemporaryDirectory()
        let manager = try DatagramSocket(directory.file("notify"))
        let daemon = try await RunningDaemon.start(
            faults: faults, tokenLines: Self.quick + "\nhung-calls = 2",
            environment: ["NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "20000"])
        func messages(until wanted: String) throws -> [String] {
            var messages: [String] = []
            repeat { messages.append(try manager.receive()) } while !(messages.last?.contains(wanted) ?? false)
            return messages
        }
        #expect(try messages(until: "READY=1").contains { $0.contains("READY=1") })
        _ = try messages(until: "WATCHDOG=1")
        let client = daemon.client(deadline: .milliseconds(400))
        let hang = faults.arm(.hangs(), on: .encrypt)
        try await eventually("three hung threads") {
            _ = try? await client.wrap(SecretBytes([1]), key: "root")
            return hang.held == 3
        }
        _ = try messages(until: "calls of the HSM's module do not return")
        // Said at once instead of waited for.
        try await eventually("no service") {
            try await errorCode { try await client.wrap(SecretBytes([1]), key: "root") } != nil
        }
        let status = try await client.status().token
        #expect(status.state == .unavailable)
        #expect(status.detail.contains("restart custodyd"), "\(status.detail)")
        #expect(hang.held <= 4, "none was replaced past the bound, and the canary may hang as well")
        hang.clear()
        let between = try messages(until: "ready")
        #expect(!between.dropLast().contains { $0.contains("READY=1") })
        _ = try messages(until: "WATCHDOG=1")
        try await eventually("service") { (try? await client.wrap(SecretBytes([1]), key: "root")) != nil }
        await client.shutdown()
        #expect(daemon.process.status == nil)
    }

    /// It can't be finalised under the call that hangs, nor waited for.
    @Test func theEndIsNotHeldUpByAHungCall() async throws {
        let faults = try FaultModule()
        let daemon = try await RunningDaemon.start(server: "drain-ms = 200", faults: faults, tokenLines: Self.quick)
        let hang = faults.arm(.hangs(), on: .encrypt, times: 1)
        let finalized = faults.calls(of: .finalize)
        try await daemon.withClient { client in
            async let code = errorCode { try await client.wrap(SecretBytes([1]), key: "root") }
            try await eventually("the hang") { hang.held == 1 }
            daemon.process.signal(SIGTERM)
            let end = try await daemon.process.end()
            #expect(end.status == .exited(0))
            #expect(end.errors.contains("leaves without finalising"))
            await client.shutdown()
            #expect(try await code != nil)
        }
        #expect(faults.calls(of: .finalize) == finalized)
        _ = try daemon.audit()
    }

    @Test func aHungLookIsReplacedWithoutFinalising() async throws {
        let faults = try FaultModule()
        let daemon = try await RunningDaemon.start(faults: faults, tokenLines: Self.quick)
        try await daemon.withClient { client in
            let blob = try await client.wrap(SecretBytes([1, 2]), key: "root").blob
            try await eventually("the sessions of login, worker and notary") { faults.openSessions == 3 }
            let (finalized, logins) = (faults.calls(of: .finalize), faults.logins)
            let hang = faults.arm(.hangs(), on: .findObjects, times: 1)
            try await eventually("another keeper") { try await client.status().token.health.losses == 1 }
            try await eventually("service") { (try? await client.unwrap(blob))?.plaintext.exposed() == [1, 2] }
            #expect(hang.held == 1)
            #expect(try await client.status().token.state == .degraded)
            #expect(faults.calls(of: .finalize) == finalized)
            #expect(faults.logins == logins + 1)
            // The kill switch works on.
            try await daemon.setRootKey(usable: false)
            try await eventually("a disabled key") { (try? await client.unwrap(blob)) == nil }
            try await daemon.setRootKey(usable: true)
            hang.clear()
            try await eventually("a token that is well") { try await client.status().token.state == .ready }
            try await eventually("service") { (try? await client.unwrap(blob)) != nil }
            try await eventually("as many sessions as before") { faults.openSessions == 3 }
        }
    }

    @Test func aHungCheckpointIsMadeBySomebodyElse() async throws {
        let faults = try FaultModule()
        let daemon = try await RunningDaemon.start(
            audit: "checkpoint-records = 10\ncheckpoint-interval-ms = 200", faults: faults, tokenLines: Self.quick)
        _ = try await ctl(daemon, "audit", "init")
        try await daemon.withClient { client in
            try await eventually("a first checkpoint") {
                _ = try await client.wrap(SecretBytes([1]), key: "root")
                return try await client.status().audit.checkpointSequence > 0
            }
            let hang = faults.arm(.hangs(), on: .sign, times: 1)
            try await eventually("the hang") {
                _ = try await client.wrap(SecretBytes([1]), key: "root")
                return hang.held == 1
            }
            let sequence = try await client.status().audit.sequence
            try await eventually("checkpoints that go on") {
                _ = try await client.wrap(SecretBytes([1]), key: "root")
                return try await client.status().audit.checkpointSequence > sequence
            }
            #expect(hang.held == 1)
            hang.clear()
            try await eventually("a token that is well") { try await client.status().token.state == .ready }
            for _ in 0..<20 { _ = try await client.wrap(SecretBytes([1]), key: "root") }
        }
        daemon.process.signal(SIGTERM)
        #expect(try await daemon.process.end().status == .exited(0))
        // What the late thread brought back must not stand in the log.
        #expect(try await ctl(daemon, "audit", "verify").contains("whole"))
    }
}
