import Foundation
import TestSupport
import Testing

/// What `key generate` said stays true, whoever is killed.
@Suite struct DurabilityTests {
    @Test func aKeyOutlivesEverybody() async throws {
        let installation = try await Installation.ready(keys: [])
        let first = try await installation.startDaemon()
        let made = try await installation.json("key", "generate", "payments")["version"]
        // The daemon runs and knew nothing of it: it serves at once.
        let blob = try await installation.ok("wrap", "--key", "payments", input: "content".utf8).bytes
        try await first.kill()

        #expect(try await installation.json("key", "show", "payments")["versions"].array == [made])
        let second = try await installation.startDaemon()
        #expect(try await installation.ok("unwrap", input: blob).text == "content")
        try await second.kill()
    }

    @Test func aDaemonThatRunsSeesEveryNewKeyAtOnce() async throws {
        let installation = try await Installation.ready(keys: [])
        // So slow a look at the token that only the request itself can have brought the key to light.
        try installation.directory.write(
            "custody.toml", String(decoding: try installation.content("custody.toml"), as: UTF8.self)
                .replacing("look-interval-ms = 50", with: "look-interval-ms = 60000"))
        let daemon = try await installation.startDaemon()
        for key in ["payments", "storage"] {
            try await installation.ok("key", "generate", key)
            let blob = try await installation.ok("wrap", "--key", key, input: "content".utf8).bytes
            #expect(try await installation.ok("unwrap", input: blob).text == "content")
        }
        try await daemon.stop()
    }

    /// `key generate` is killed, with the process that it has started to look for the new key.
    @Test func killedBeforeItCouldSaySo() async throws {
        let installation = try await Installation.ready(keys: [])
        let gate = try Gate(installation)
        let generate = try ChildProcess("custodyctl", arguments: ["key", "generate", "payments", "--config", gate.configurationFile])
        // The first to read the module's configuration makes the key, the second looks for it.
        try await gate.pass(isAwaited: { true })
        let finder = try await eventualValue("the process that looks for the key") { Processes.children(of: generate.processID).first }
        generate.signal(SIGKILL)
        try await generate.end()
        kill(finder, SIGKILL)
        #expect(generate.output.isEmpty, "it promised nothing")

        // The key is there but disabled: no daemon wraps under what may not outlast a power cut.
        let daemon = try await installation.startDaemon()
        let refused = try await installation.ctl("wrap", "--key", "payments", input: "content".utf8)
        #expect(refused.status == .exited(1))
        #expect(refused.errors.contains("is disabled"))
        let left = try await installation.json("key", "show", "payments")["versions"][0]
        #expect(left["proven"] == true)
        #expect(left["state"] == "disabled")
        #expect(try await installation.json("key", "rotate", "payments", "--reactivate")["version"]["version"] == 2)
        try await installation.ok("wrap", "--key", "payments", input: "content".utf8)
        try await daemon.stop()
    }

    /// The process that looks for the new key needs the PIN, and gets it where no other user can read it.
    @Test func noArgumentHoldsThePIN() async throws {
        let installation = try await Installation.ready(keys: [])
        let gate = try Gate(installation)
        let generate = try ChildProcess("custodyctl", arguments: ["key", "generate", "payments", "--config", gate.configurationFile])
        try await gate.pass(isAwaited: { true })
        try await gate.pass(isAwaited: {
            // Both wait at the gate or for each other, so this is what they show for as long as they live.
            guard let child = Processes.children(of: generate.processID).first, Processes.file(child, "cmdline").contains("find-key") else { return false }
            for process in [generate.processID, child] {
                for name in ["cmdline", "environ"] { #expect(!Processes.file(process, name).contains(SoftHSMToken.userPIN)) }
            }
            return true
        })
        let result = try await generate.end()
        #expect(result.status == .exited(0), "\(result.errors)")
        #expect(!(result.output + result.errors).contains(SoftHSMToken.userPIN))
    }
}
