import Foundation
import TestSupport
import Testing

/// The states of a version as an operator goes through them.
@Suite struct KeyLifeTests {
    /// A command, what it makes of version 1, and a part of what it says; nil for a state that it has to refuse to change.
    private struct Step {
        let command: [String]
        let state: String?
        let says: String

        init(_ command: String, _ state: String?, _ says: String) {
            self.command = command.split(separator: " ").map(String.init)
            self.state = state
            self.says = says
        }
    }

    private static let schedule = "destroy --yes-i-understand payments"
    private static let scheduled = "scheduled-for-destruction"

    private static let steps = [
        Step("enable", "active", "is active already"),
        Step("destroy --cancel", "active", "was not scheduled"),
        Step("deactivate", "deactivated", "it opens, and wraps no more"),
        Step("deactivate", "deactivated", "is deactivated already"),
        Step("enable", "active", "it wraps and opens"),
        Step("disable", "disabled", "it neither wraps nor opens"),
        Step("disable", "disabled", "is disabled already"),
        Step("destroy --cancel", "disabled", "is disabled already"),
        Step("deactivate", "deactivated", "it opens, and wraps no more"),
        Step("disable", "disabled", "it neither wraps nor opens"),
        Step("enable", "active", "it wraps and opens"),
        Step(schedule, scheduled, "takes the schedule back"),
        Step(schedule + " --days 7", nil, "--cancel"),
        Step("enable", nil, "--cancel"),
        Step("deactivate", nil, "--cancel"),
        Step("disable", scheduled, "already"),
        Step("destroy --cancel", "disabled", "it neither wraps nor opens"),
        Step("enable", "active", "it wraps and opens"),
        Step("deactivate", "deactivated", "it opens, and wraps no more"),
        Step(schedule + " --days 7", scheduled, "takes the schedule back"),
        Step("destroy --cancel", "disabled", "it neither wraps nor opens"),
        Step(schedule + " --days 8", scheduled, "takes the schedule back"),
    ]

    @Test func everyCommandFromEveryState() async throws {
        let installation = try await Installation.ready()
        var state: JSON = "active"
        for (number, step) in Self.steps.enumerated() {
            let command = ["key", step.command[0], "payments", "--version", "1"] + step.command.dropFirst()
            let reply = try await installation.ctl(command)
            let said = "\(number): \(reply.command): \(reply.text)\(reply.errors)"
            #expect((reply.text + reply.errors).contains(step.says), "\(said)")
            #expect(reply.status == .exited(step.state == nil ? 1 : 0), "\(said)")
            if let expected = step.state { state = .string(expected) }
            let shown = try await installation.json("key", "show", "payments")["versions"][0]
            #expect(shown["state"] == state, "\(said)")
            #expect((shown["destroy_after"] != .null) == (state == .string(Self.scheduled)), "\(said)")
        }
    }

    /// The day is so many days from today in UTC; the test may run over midnight.
    @Test func theDayOfDestruction() async throws {
        let installation = try await Installation.ready()
        func day(_ ahead: Int) -> JSON {
            .string(Date(timeIntervalSinceNow: Double(ahead) * 86_400).formatted(.iso8601.year().month().day()))
        }
        for (arguments, ahead) in [([], 30), (["--days", "7"], 7), (["--days", "30"], 30)] as [([String], Int)] {
            let before = day(ahead)
            let reply = try await installation.ctl(
                ["key", "destroy", "payments", "--all", "--yes-i-understand", "payments", "--json"] + arguments).exiting().json
            let version = reply["versions"][0]
            #expect([before, day(ahead)].contains(version["destroy_after"]), "\(version)")
            #expect(version["changed"] == true)
            #expect(version["state"] == .string(Self.scheduled))
            #expect(try await installation.json("key", "list")["keys"][0]["versions"][0]["destroy_after"] == version["destroy_after"])
            #expect(try await installation.ok("key", "list").text.contains("after \(version["destroy_after"].string ?? "?")"))
            // Scheduling for another day moves nothing, and says so.
            let again = try await installation.refusal("key", "destroy", "payments", "--all", "--yes-i-understand", "payments", "--days", "9")
            #expect(again.code == "key-not-usable" && again.message.contains("--cancel"), "\(again.message)")
            #expect(try await installation.json("key", "list")["keys"][0]["versions"][0]["destroy_after"] == version["destroy_after"])
            #expect(try await installation.json("key", "destroy", "--due", "payments")["destroyed"].array.isEmpty)
            #expect(try await installation.ok("key", "destroy", "--due", "--every-key").text.contains("Nothing is due"))
            try await installation.ok("key", "destroy", "payments", "--all", "--cancel")
        }
        let text = try await installation.ok("key", "show", "payments").text
        #expect(text.contains("Created") && !text.contains("Destruction"), "\(text)")
    }

    @Test(arguments: [
        "key disable payments", "key disable", "key enable payments --version 1 --all", "key deactivate payments --version x",
        "key disable payments --version 1 --id 00", "key destroy payments", "key destroy payments --version 1 --days 6",
        "key destroy payments --version 1 --days 31", "key destroy payments --version 1 --days 7 --now",
        "key destroy payments --version 1 --days 7 --cancel", "key destroy payments --version 1 --now --cancel",
        "key destroy payments --version 1", "key destroy payments --version 1 --yes-i-understand other", "key destroy --due",
        "key destroy --due payments --every-key", "key destroy --due payments --version 1", "key destroy --due payments --now",
        "key destroy --due payments --days 8", "key destroy --due payments --yes-i-understand payments", "key destroy --every-key",
        "key destroy payments --every-key --version 1", "key destroy --version 1", "key rotate payments --version 1",
    ])
    func wrongUsage(_ line: String) async throws {
        let installation = try await Installation.ready()
        let refused = try Refusal(try await installation.ctl(line.split(separator: " ").map(String.init) + ["--json"]).exiting(64))
        #expect(refused.code == "usage")
        #expect(try await installation.json("key", "list")["keys"][0]["versions"].array.map { $0["state"] } == ["active"])
    }

    @Test func versionsThatAreNotThere() async throws {
        let installation = try await Installation.ready()
        for command in ["disable", "enable", "deactivate"] {
            for arguments in [["payments", "--version", "2"], ["other", "--all"], ["payments", "--id", "00"]] {
                let reply = try await installation.ctl(["key", command] + arguments + ["--json"])
                #expect(try Refusal(reply.exiting(1)).code == "key-not-found", "\(reply.command)")
            }
        }
    }

    /// `--all` is all or nothing of what can be known before.
    @Test func allVersions() async throws {
        let installation = try await Installation.ready()
        for _ in 2...3 { try await installation.ok("key", "rotate", "payments") }
        func states() async throws -> [String?] {
            try await installation.json("key", "list")["keys"][0]["versions"].array.map { $0["state"].string }
        }
        let off = try await installation.ok("key", "disable", "payments", "--all").text
        #expect(off.contains("version 1 ") && off.contains("version 3 ") && off.contains("No version of key 'payments' is active"), "\(off)")
        #expect(try await states() == ["disabled", "disabled", "disabled"])
        try await installation.ok("key", "destroy", "payments", "--version", "2", "--yes-i-understand", "payments")
        #expect(try await installation.refusal("key", "enable", "payments", "--all").code == "key-not-usable")
        #expect(try await states() == ["disabled", Self.scheduled, "disabled"], "nothing was changed")
        try await installation.ok("key", "destroy", "payments", "--all", "--cancel")
        try await installation.ok("key", "enable", "payments", "--version", "1")
        #expect(try await installation.json("key", "list")["keys"][0]["versions"].array.map { $0["wraps"] } == [true, false, false])
        try await installation.ok("key", "enable", "payments", "--all")
        #expect(try await states() == ["active", "active", "active"])
    }

    @Test func schedulingAsksAtTheTerminal() async throws {
        let installation = try await Installation.ready()
        let daemon = try await installation.startDaemon()
        let command = ["key", "destroy", "payments", "--version", "1", "--days", "10"]
        let wrong = try await installation.atTerminal(command, answering: ["go on: ": "payment"])
        #expect(wrong.status == .exited(1))
        #expect(try await installation.json("key", "list")["keys"][0]["versions"][0]["state"] == "active")
        let right = try await installation.atTerminal(command, answering: ["go on: ": "payments"])
        #expect(right.status == .exited(0), "\(right.text)")
        for part in ["disables now", "version 1", "last use", "needed: ", "takes the schedule back"] { #expect(right.text.contains(part), "\(right.text)") }
        #expect(try await installation.json("key", "list")["keys"][0]["versions"][0]["state"] == .string(Self.scheduled))
        try await daemon.stop()
    }

    /// What was confirmed is what was shown, and nothing else.
    @Test(arguments: [["--days", "10"], ["--now"]], ["disable payments --all", "destroy payments --version 1 --now --yes-i-understand payments"])
    func changedBehindTheQuestion(_ arguments: [String], _ change: String) async throws {
        let installation = try await Installation.ready()
        try await installation.ok("key", "rotate", "payments")
        let reply = try await installation.atTerminal(
            ["key", "destroy", "payments", "--all"] + arguments, answering: ["go on: ": "payments"], butFirst: "key " + change)
        #expect(reply.status == .exited(1), "\(reply.text)")
        #expect(reply.text.contains("nothing was done"), "\(reply.text)")
        let states = try await installation.json("key", "list")["keys"][0]["versions"].array.map { $0["state"] }
        #expect(states == (change.hasPrefix("disable") ? ["disabled", "disabled"] : ["active"]))
    }

    /// A rotation by a timer does not undo the kill switch, even if it began before.
    @Test func whatIsDisabledIsNotRotatedBack() async throws {
        let installation = try await Installation.ready()
        let gate = try Gate(installation)
        let rotate = try ChildProcess("custodyctl", arguments: ["key", "rotate", "payments", "--config", gate.configurationFile])
        try await gate.pass(isAwaited: { true })
        // The second at the gate is the process that activates.
        _ = try await eventualValue("the process that activates") { Processes.children(of: rotate.processID).first }
        try await installation.ok("key", "disable", "payments", "--all")
        try await gate.pass(isAwaited: { true })
        let result = try await rotate.end()
        #expect(result.status == .exited(1))
        #expect(result.errors.contains("--reactivate"), "\(result.errors)")
        func states() async throws -> [JSON] { try await installation.json("key", "list")["keys"][0]["versions"].array.map { $0["state"] } }
        #expect(try await states() == ["disabled"])
        #expect(try await installation.refusal("key", "rotate", "payments").code == "key-not-usable")
        #expect(try await states() == ["disabled"])
        try await installation.ok("key", "rotate", "payments", "--reactivate")
        #expect(try await states() == ["disabled", "active"])
    }

    /// A public object, made without the PIN, with the label and CKA_ID of a version.
    @Test func aPublicDoubleIsInNobodysWay() async throws {
        let installation = try await Installation.ready()
        let id = try #require(try await installation.json("key", "list")["keys"][0]["versions"][0]["id"].string)
        try await installation.makePublicKey("payments", id: id)
        try await installation.makePublicKey("payments", id: "00000002" + id.dropFirst(8))
        let shown = try await installation.json("key", "show", "payments")
        #expect(shown["versions"].array.map { $0["state"] } == ["active"])
        #expect(shown["foreign_keys"].array.map { $0["state"] } == ["foreign", "foreign"])
        #expect(try await installation.json("key", "rotate", "payments")["version"]["version"] == 2)
        for selector in [["--version", "1"], ["--version", "2"], ["--id", id], ["--all"]] {
            for command in ["disable", "enable"] {
                let changed = try await installation.ctl(["key", command, "payments", "--json"] + selector).exiting().json
                #expect(changed["versions"].array.count == (selector == ["--all"] ? 2 : 1), "\(command) \(selector)")
            }
        }
        let off = try await installation.ok("key", "disable", "payments", "--all").text
        #expect(off.contains("No version of key 'payments' is active"), "\(off)")
    }

    @Test func nothingIsDueOfAKeyThatIsNotThere() async throws {
        let installation = try await Installation.ready()
        let absent = try await installation.ok("key", "destroy", "--due", "payment").text
        #expect(absent.contains("no key 'payment'"), "\(absent)")
        #expect(try await installation.ok("key", "destroy", "--due", "payments").text.contains("no version is scheduled"))
    }

    @Test func whatTheDaemonDoesNotUseIsNotEnabled() async throws {
        let installation = try await Installation.ready(keys: [])
        try await installation.makeExtractableKey("storage")
        try await installation.makeKey("foreign", id: "42")
        for (key, selector) in [("storage", ["--version", "1"]), ("foreign", ["--id", "42"])] {
            for command in ["enable", "deactivate", "destroy"] {
                let confirmation = command == "destroy" ? ["--yes-i-understand", key] : []
                let reply = try await installation.ctl(["key", command, key] + selector + confirmation + ["--json"])
                #expect(try Refusal(reply.exiting(1)).code == "key-refused", "\(reply.text)")
            }
            // It can be turned off all the same.
            let disabled = try await installation.ctl(["key", "disable", key, "--json"] + selector).exiting().json
            #expect(disabled["versions"][0]["state"] == "disabled")
            #expect(disabled["versions"][0]["changed"] == true)
        }
        #expect(try await installation.refusal("key", "enable", "foreign", "--all").code == "key-not-found")
    }

    @Test func severalRotateAtOnce() async throws {
        let installation = try await Installation.ready()
        let count = 6
        let numbers = try await withThrowingTaskGroup(of: JSON.self) { group in
            for _ in 0..<count {
                group.addTask { try await installation.json("key", "rotate", "payments")["version"]["version"] }
            }
            return try await group.reduce(into: [JSON]()) { $0.append($1) }
        }
        #expect(Set(numbers).count == count, "\(numbers)")
        let versions = try await installation.json("key", "list")["keys"][0]["versions"].array
        #expect(versions.map { $0["version"] } == (1...count + 1).map { JSON.number(Double($0)) })
        #expect(versions.allSatisfy { $0["state"] == "active" })
        #expect(Set(versions.map { $0["id"] }).count == count + 1)
    }

    @Test func severalGenerateOneKeyAtOnce() async throws {
        let installation = try await Installation.ready(keys: [])
        let codes = try await withThrowingTaskGroup(of: TestSupport.ExitStatus.self) { group in
            for _ in 0..<4 { group.addTask { try await installation.ctl("key", "generate", "payments").status } }
            return try await group.reduce(into: [TestSupport.ExitStatus]()) { $0.append($1) }
        }
        #expect(codes.filter { $0 == .exited(0) }.count == 1, "\(codes)")
        let versions = try await installation.json("key", "list")["keys"][0]["versions"].array
        #expect(versions.map { $0["state"] } == ["active"])
    }

    @Test func listTellsUsesIfTheDaemonDoes() async throws {
        let installation = try await Installation.ready()
        let alone = try await installation.json("key", "list")
        #expect(alone["usage_remark"].string?.contains("no daemon listens") == true)
        #expect(alone["keys"][0]["versions"][0]["usage"] == .null)
        #expect(alone["keys"][0]["versions"][0]["created"].string?.count == 10)
        let text = try await installation.ok("key", "list").text
        for part in ["USES", "LAST USE", "NEEDED", " - ", "no daemon listens"] { #expect(text.contains(part), "\(text)") }

        let daemon = try await installation.startDaemon()
        let told = try await installation.json("key", "list")
        #expect(told["usage_remark"] == .null)
        let usage = told["keys"][0]["versions"][0]["usage"]
        #expect(usage["uses"] == 0)
        #expect(usage["needed"].string?.hasPrefix("unknown: not used here since ") == true, "made on the day on which the counting began")
        let status = try await installation.json("status")["keys"][0]["versions"][0]
        #expect(status["created"] == told["keys"][0]["versions"][0]["created"])
        #expect(status["wraps"] == true)
        // One that was killed leaves its socket behind.
        try await daemon.kill()
        #expect(try await installation.json("key", "list")["usage_remark"].string?.isEmpty == false)
    }

    @Test func listDoesNotFailForADaemonThatDenies() async throws {
        let installation = try await Installation.ready(grants: Grants.toAnother)
        let daemon = try await installation.startDaemon(until: nil)
        let listed = try await installation.json("key", "list")
        #expect(listed["usage_remark"].string?.contains("denied") == true)
        #expect(listed["keys"][0]["versions"][0]["state"] == "active")
        try await daemon.stop()
    }
}
