import CustodyClient
import CustodyProtocol
import Foundation
import PKCS11
import SecureMemory
import TestSupport
import Testing

/// A PIN that the token has refused is not tried again by anybody on this host, whatever crashes or starts anew in between.
@Suite struct RefusedPINTests {
    private static let wrong = "wrong-pin-73591846\n"

    /// A daemon that has served and has ended, and is to start with another PIN.
    private func stopped(_ faults: FaultModule, pin: String = wrong, tokenLines: String = "") async throws -> RunningDaemon {
        let daemon = try await RunningDaemon.start(faults: faults, tokenLines: tokenLines)
        try await end(daemon.process)
        try daemon.token.directory.write("pin", pin)
        faults.resetLogins()
        return daemon
    }

    private func end(_ process: ChildProcess, by signal: Int32 = SIGTERM) async throws {
        process.signal(signal)
        try await process.end()
    }

    private func launch(_ daemon: RunningDaemon, configuration: String? = nil) throws -> ChildProcess {
        try ChildProcess("custodyd", arguments: ["--config", configuration ?? daemon.configurationFile])
    }

    /// Starts it, waits for the line, and kills it.
    private func life(_ daemon: RunningDaemon, until line: String, configuration: String? = nil) async throws {
        let process = try launch(daemon, configuration: configuration)
        try await process.line(containing: line)
        try await end(process, by: SIGKILL)
    }

    private func ctl(_ daemon: RunningDaemon, _ arguments: String..., exit status: Int32 = 0) async throws -> String {
        let result = try await run("custodyctl", arguments: arguments + ["--config", daemon.configurationFile])
        guard result.status == .exited(status) else { throw UnexpectedResult(result) }
        return result.output + result.errors
    }

    private func record(_ daemon: RunningDaemon) throws -> String {
        try String(contentsOfFile: daemon.token.directory.file("state/pin-attempts.json"), encoding: .utf8)
    }

    /// Twenty restarts by a supervisor, tools, and a second daemon: one attempt.
    @Test func onceOverRestartsToolsAndOtherDaemons() async throws {
        let faults = try FaultModule()
        let daemon = try await stopped(faults)
        let before = faults.logins
        for _ in 1...20 { try await life(daemon, until: "token locked") }
        #expect(faults.logins - before == 1)
        #expect(try !record(daemon).contains("73591846"))

        let refused = try await ctl(daemon, "key", "list", exit: 77)
        #expect(refused.contains("retry-pin"), "\(refused)")
        // Another daemon of this host, with a state directory of its own.
        let other = try String(contentsOfFile: daemon.configurationFile, encoding: .utf8)
            .replacing("socket = \"s\"", with: "socket = \"s2\"").replacing("\"audit.jsonl\"", with: "\"audit-2.jsonl\"")
            .replacing("directory = \"state\"", with: "directory = \"state-2\"\npin-attempts = \"state/pin-attempts.json\"")
        try await life(daemon, until: "token locked", configuration: daemon.token.directory.write("other.toml", other))
        #expect(faults.logins - before == 1)

        // Another PIN is an operator's act.
        try daemon.token.directory.write("pin", SoftHSMToken.userPIN + "\n")
        try await life(daemon, until: "token ready")
        _ = try await ctl(daemon, "key", "list")
        try daemon.token.directory.write("pin", Self.wrong)
        try await life(daemon, until: "token locked")
        #expect(faults.logins - before == 3, "the refused one is remembered over a right one")
    }

    /// The PIN becomes the right one on the token: nobody but the operator knows.
    @Test func theOperatorHasItTriedAgain() async throws {
        let faults = try FaultModule()
        let daemon = try await stopped(faults)
        let process = try launch(daemon)
        try await process.line(containing: "token locked")
        let right = try daemon.token.directory.write("right", SoftHSMToken.userPIN + "\n")
        // By the vendor's tool.
        let set = try await run(
            "pkcs11-tool",
            arguments: [
                "--module", daemon.token.modulePath, "--token-label", daemon.token.label, "--login", "--pin", SoftHSMToken.userPIN,
                "--change-pin", "--new-pin", Self.wrong.trimmingCharacters(in: .newlines),
            ], environment: daemon.token.environment)
        guard set.status == .exited(0) else { throw UnexpectedResult(set) }
        try await daemon.withClient { client in
            let (logins, starts) = (faults.logins, faults.calls(of: .initialize))
            for _ in 1...3 { _ = try await client.reload() }
            #expect(try await client.status().token.state == .locked)
            #expect(faults.logins == logins && faults.calls(of: .initialize) == starts, "nothing is done about it")
            #expect(try await ctl(daemon, "token", "retry-pin").contains("forgotten"))
            #expect(try await ctl(daemon, "token", "retry-pin").contains("No refused PIN"))
            _ = try await client.reload()
            try await eventually("service") { try await client.status().token.state == .ready }
            #expect(faults.logins == logins + 1)
            // Set by custodyctl, whatever was refused before is forgotten.
            _ = try await ctl(daemon, "key", "list", "--pin-file", right, exit: 77)
            _ = try await ctl(daemon, "token", "set-pin", "--new-pin-file", right)
            try daemon.token.directory.write("pin", SoftHSMToken.userPIN + "\n")
            _ = try await ctl(daemon, "key", "list")
        }
        try await end(process)
    }

    /// Killed inside C_Login, before the token has answered: two attempts, and no more.
    @Test func killedInTheLogin() async throws {
        let faults = try FaultModule()
        let daemon = try await stopped(faults, pin: SoftHSMToken.userPIN + "\n")
        let before = faults.logins
        let crash = faults.arm(.crashes(signal: SIGKILL), on: .login)
        for _ in 1...2 {
            let process = try launch(daemon)
            #expect(try await process.end().status == .signalled(SIGKILL))
        }
        for _ in 1...5 { try await life(daemon, until: "token locked") }
        #expect(faults.logins - before == 2 && crash.hits == 2)
        crash.clear()
        try await life(daemon, until: "token locked")
        _ = try await ctl(daemon, "token", "retry-pin")
        try await life(daemon, until: "token ready")
        // Once does no harm.
        let once = faults.arm(.crashes(signal: SIGKILL), on: .login, times: 1)
        #expect(try await launch(daemon).end().status == .signalled(SIGKILL))
        for _ in 1...2 { try await life(daemon, until: "token ready") }
        #expect(once.hits == 1)
    }

    /// A token that can't be reached has said nothing of the PIN, however often a service manager restarts the daemon for it.
    @Test func aLoginThatHangsIsNotCounted() async throws {
        let faults = try FaultModule()
        let daemon = try await stopped(faults, pin: SoftHSMToken.userPIN + "\n", tokenLines: "hung-call-ms = 50")
        let hang = faults.arm(.hangs(), on: .login)
        for _ in 1...4 {
            let process = try launch(daemon)
            try await process.line(containing: "calls of the HSM's module do not return")
            try await eventually("the end of the attempt") {
                !FileManager.default.fileExists(atPath: daemon.token.directory.file("state/pin-attempts.json"))
            }
            try await end(process, by: SIGKILL)
        }
        hang.clear()
        try await life(daemon, until: "token ready")
    }

    @Test func aDamagedRecordWaitsForAnOperator() async throws {
        let faults = try FaultModule()
        let daemon = try await stopped(faults, pin: SoftHSMToken.userPIN + "\n")
        let logins = faults.logins
        try daemon.token.directory.write("state/pin-attempts.json", "{\"format\": 1, \"salt\":")
        let process = try launch(daemon)
        try await process.line(containing: "token locked")
        try await daemon.withClient { client in
            #expect(try await client.status().token.detail.contains("damaged"))
            #expect(try await ctl(daemon, "key", "list", exit: 77).contains("damaged"))
            #expect(faults.logins == logins)
            _ = try await ctl(daemon, "token", "retry-pin")
            _ = try await client.reload()
            try await eventually("service") { try await client.status().token.state == .ready }
        }
        try await end(process)
    }

    /// Where it can't be recorded no PIN is tried; it heals. A tool that a person runs warns: the kill switch needs no disk.
    @Test func whatCanNotBeRecordedIsNotTried() async throws {
        let faults = try FaultModule()
        let daemon = try await stopped(faults, pin: SoftHSMToken.userPIN + "\n")
        let logins = faults.logins
        let folder = daemon.token.directory.file("records")
        let text = try String(contentsOfFile: daemon.configurationFile, encoding: .utf8)
            .replacing("directory = \"state\"", with: "directory = \"state\"\npin-attempts = \"records/pin-attempts.json\"")
        try daemon.token.directory.write("custody.toml", text)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        try #require(chmod(folder, 0o777) == 0)
        let process = try launch(daemon)
        try await process.line(containing: "token unavailable")
        #expect(faults.logins == logins)
        let warned = try await ctl(daemon, "key", "disable", "root", "--all")
        #expect(warned.contains("warning: ") && warned.contains("pin-attempts.json"), "\(warned)")
        try #require(chmod(folder, 0o700) == 0)
        try await process.line(containing: "token ready")
        try await end(process)
    }
}
