import Foundation
import TestSupport
import Testing

/// `custodyctl policy`: the file's answers, without a daemon or a token.
@Suite struct PolicyTests {
    private static let rules = """
        [[grant]]
        user = "64101"
        keys = ["payments", "billing-*"]
        operations = ["wrap", "unwrap"]
        context = { tenant = "acme-*" }
        [[grant]]
        group = "64050"
        operations = ["status", "reload"]
        [[grant]]
        user = "root"
        keys = ["*"]
        operations = ["unwrap", "encrypt"]
        [[deny]]
        everyone = true
        keys = ["billing-retired"]
        operations = ["wrap"]
        [[limit]]
        per-second = 0.5
        [[limit]]
        group = "64050"
        keys = ["pay*"]
        per-second = 5
        burst = 10
        per-day = 1000
        per = "everyone"
        """

    /// The file's line of the first of the rules.
    private func firstLine(_ installation: Installation) throws -> Int {
        let lines = String(decoding: try installation.content("custody.toml"), as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        return try #require(lines.firstIndex(of: "[[grant]]")) + 1
    }

    @Test(arguments: [
        ("--user 64101 --key payments --operation wrap --context tenant=acme-1", 0, "allowed by custody.toml:+0"),
        ("--user 64101 --key billing-9 --operation unwrap --context tenant=acme-1 --context more=x", 0, "allowed by custody.toml:+0"),
        ("--user 64101 --key payments --operation wrap", 77, "denied: no grant of this principal covers it"),
        ("--user 64101 --key payments --operation rewrap --context tenant=acme-1", 77, "denied: no grant of this principal covers it"),
        ("--user 64101 --key billing-retired --operation wrap --context tenant=acme-1", 77, "denied by custody.toml:+12"),
        ("--user 64101 --key billing-retired --operation unwrap --context tenant=acme-1", 0, "allowed by custody.toml:+0"),
        ("--user 64101 --operation status", 77, "denied: no grant of this principal covers it"),
        ("--user 64101 --group 64050 --operation status", 0, "allowed by custody.toml:+5"),
        ("--user 64101 --group 7 --group 64050 --operation reload", 0, "allowed by custody.toml:+5"),
        ("--user 64102 --key payments --operation wrap", 77, "denied: no grant names this principal"),
        ("--user root --key any --operation encrypt", 0, "allowed by custody.toml:+8"),
        ("--user 0 --key any --operation unwrap", 0, "allowed by custody.toml:+8"),
        ("--user root --operation reload", 77, "denied: no grant of this principal covers it"),
    ])
    func check(_ arguments: String, _ exit: Int32, _ says: String) async throws {
        let installation = try await Installation(grants: Self.rules)
        let first = try firstLine(installation)
        let words = ["policy", "check"] + arguments.split(separator: " ").map(String.init)
        let reply = try await installation.ctl(words).exiting(exit)
        // Places are counted from the first rule.
        let expected = says.split(separator: "+").count == 1 ? says : try replacingOffset(says, first)
        #expect(reply.text.split(separator: "\n").first.map(String.init) == expected, "\(reply.text)")
        #expect(reply.errors.isEmpty)

        let document = try await installation.ctl(words + ["--json"]).exiting(exit).json
        #expect(document["file"].string == installation.configurationFile)
        #expect(document["decision"].string == (exit == 0 ? "allowed" : "denied"))
        if expected.contains(" by ") { #expect(document["rule"].string.map { expected.hasSuffix(" by \($0)") } == true) }
        #expect((document["reason"].string != nil) == (exit != 0))
    }

    private func replacingOffset(_ text: String, _ first: Int) throws -> String {
        let parts = text.split(separator: "+")
        return "\(parts[0])\(first + (try #require(Int(parts[1]))))"
    }

    @Test func limitsThatCountItAreNamed() async throws {
        let installation = try await Installation(grants: Self.rules)
        let first = try firstLine(installation)
        let unwrap = ["policy", "check", "--user", "root", "--operation", "unwrap", "--group", "64050", "--key"]
        #expect(try await installation.ctl(unwrap + ["payments"]).exiting().text == """
            allowed by custody.toml:\(first + 8)
            limit 0.5/s, burst 1 per user, by custody.toml:\(first + 16)
            limit 5/s, burst 10, 1000/day for all together, by custody.toml:\(first + 18)
            according to \(installation.configurationFile)

            """)
        #expect(try await installation.ctl(unwrap + ["other", "--json"]).exiting().json["limits"].array.count == 1)
        let status = try await installation.json("policy", "check", "--user", "1", "--group", "64050", "--operation", "status")
        #expect(status["limits"].array.isEmpty)
    }

    @Test(arguments: [
        (["--user", "no-such-user-here", "--key", "a", "--operation", "wrap"], "there is no user 'no-such-user-here'"),
        (["--user", "0", "--group", "no-such-group-here", "--key", "a", "--operation", "wrap"], "there is no group 'no-such-group-here'"),
        (["--user", "0", "--key", "a", "--operation", "export"], "there is no operation 'export'; there are wrap, unwrap"),
        (["--user", "0", "--operation", "wrap"], "wrap uses a key; name it with --key"),
        (["--user", "0", "--key", "a", "--operation", "status"], "status uses no key"),
        (["--user", "0", "--key", "a b", "--operation", "wrap"], "'a b' is not a key name"),
        (["--user", "0", "--key", "*", "--operation", "wrap"], "'*' is not a key name"),
        (["--user", "0", "--key", "a", "--operation", "wrap", "--context", "tenant"], "--context 'tenant' is not key=value"),
        (["--user", "0", "--key", "a", "--operation", "wrap", "--context", "a=1", "--context", "a=2"], "--context names 'a' twice"),
        (["--user", "0", "--key", "a", "--operation", "encrypt", "--context", "a=1"], "encrypt has no context"),
        (["--key", "a", "--operation", "wrap"], "--user"),
    ])
    func wrongUsage(_ arguments: [String], _ says: String) async throws {
        let installation = try await Installation(grants: Self.rules)
        let refused = try Refusal(try await installation.ctl(["policy", "check"] + arguments + ["--json"]).exiting(64))
        #expect(refused.code == "usage")
        #expect(refused.message.contains(says), "\(refused.message)")
    }

    @Test func showIsATable() async throws {
        let installation = try await Installation(grants: Self.rules)
        let first = try firstLine(installation)
        func rows(_ arguments: String...) async throws -> [[String]] {
            try await installation.ctl(["policy", "show"] + arguments).exiting().text.split(separator: "\n").map { line in
                line.components(separatedBy: "  ").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
            }
        }
        let file = ["Rules of \(installation.configurationFile)"]
        let header = ["WHO", "KEYS", "OPERATIONS", "CONTEXT", "EFFECT", "RULE"]
        let using = "wrap, unwrap, rewrap, generate-data-key, encrypt, decrypt"
        let all = [
            ["user 64101", "payments, billing-*", "wrap, unwrap", "tenant=acme-*", "allow", "custody.toml:\(first)"],
            ["group 64050", "-", "status, reload", "-", "allow", "custody.toml:\(first + 5)"],
            ["user root (0)", "*", "unwrap, encrypt", "-", "allow", "custody.toml:\(first + 8)"],
            ["everyone", "billing-retired", "wrap", "-", "deny", "custody.toml:\(first + 12)"],
            ["everyone", "*", using, "-", "limit 0.5/s, burst 1 per user", "custody.toml:\(first + 16)"],
            ["group 64050", "pay*", using, "-", "limit 5/s, burst 10, 1000/day for all together", "custody.toml:\(first + 18)"],
        ]
        #expect(try await rows() == [file, header] + all)
        #expect(try await rows("--user", "64101") == [file, header, all[0], all[3], all[4]])
        #expect(try await rows("--user", "root") == [file, header, all[2], all[3], all[4]])
        #expect(try await rows("--user", "64102") == [file, ["No grant concerns '64102': everything is denied."], header, all[3], all[4]])

        let document = try await installation.json("policy", "show")["rules"].array
        #expect(document.map { $0["effect"] } == ["allow", "allow", "allow", "deny", "limit", "limit"])
        #expect(document[0]["context"] == .object(["tenant": "acme-*"]))
        #expect(document[0]["subject"] == .object(["kind": "user", "name": "64101", "id": 64_101]))
        #expect(document[5]["per_day"] == 1_000)
        #expect(document[5]["per"] == "everyone")
        #expect(document[4]["per_second"].number == 0.5)
    }

    @Test func unitsAreAskedForAndShown() async throws {
        let installation = try await Installation(grants: """
            [[grant]]
            user = "64101"
            unit = "billing.service"
            operations = ["disconnect"]
            [[grant]]
            group = "64050"
            subordinate = true
            operations = ["status"]
            """)
        let check = ["policy", "check", "--user", "64101", "--operation", "disconnect"]
        _ = try await installation.ctl(check + ["--unit", "billing.service"]).exiting()
        for elsewhere in [[], ["--unit", "other.service"]] {
            let denied = try await installation.ctl(check + elsewhere).exiting(77)
            #expect(denied.text.hasPrefix("denied: the grants of this principal are for another systemd unit"), "\(denied.text)")
        }
        let wrong = try Refusal(try await installation.ctl(check + ["--unit", "billing", "--json"]).exiting(64))
        #expect(wrong.message.contains("'billing' is no systemd unit"))
        let shown = try await installation.ok("policy", "show").text
        #expect(shown.contains("user 64101 in billing.service ") && shown.contains("group 64050 with subordinate uids "), "\(shown)")
        #expect(try await installation.ok("policy", "show", "--user", "64101").text.contains("billing.service"))
    }

    @Test func noRulesDenyAll() async throws {
        let installation = try await Installation(grants: "")
        #expect(try await installation.ok("policy", "show").text == "Rules of \(installation.configurationFile)\nNo grant stands in the configuration: everything is denied.\n")
        #expect(try await installation.json("policy", "show")["rules"].array.isEmpty)
        _ = try await installation.ctl("policy", "check", "--user", "root", "--operation", "status").exiting(77)
    }

    @Test func configurationThatIsWrongOrMissing() async throws {
        let installation = try await Installation(grants: Self.rules.replacing("[\"status\", \"reload\"]", with: "[\"state\"]"))
        let first = try firstLine(installation)
        for command in [["show"], ["check", "--user", "root", "--operation", "status"]] {
            let refused = try Refusal(try await installation.ctl(["policy"] + command + ["--json"]).exiting(78))
            #expect(refused.code == "configuration-error")
            #expect(refused.message.contains("custody.toml:\(first + 7): "), "\(refused.message)")
            #expect(refused.message.contains("there is no operation 'state'"), "\(refused.message)")
            let missing = try await installation.start(["custodyctl", "policy"] + command + ["--config", "/nowhere.toml"]).exiting(78)
            #expect(missing.errors.contains("/nowhere.toml"), "\(missing.errors)")
        }
    }

    /// With a real user and group database: the groups are those that the machine has for the user.
    @Test func groupsAreTheMachines() async throws {
        let name = try #require(getgrgid(getgid())).pointee.gr_name.map { String(cString: $0) } ?? ""
        let installation = try await Installation(grants: "[[grant]]\ngroup = \"\(name)\"\noperations = [\"status\"]")
        let user = try #require(getpwuid(getuid())).pointee.pw_name.map { String(cString: $0) } ?? ""
        _ = try await installation.ctl("policy", "check", "--user", user, "--operation", "status").exiting()
        _ = try await installation.ctl("policy", "check", "--user", user, "--group", "64050", "--operation", "status").exiting(77)
    }
}
