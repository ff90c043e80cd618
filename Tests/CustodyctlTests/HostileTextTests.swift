import Foundation
import TestSupport
import Testing

/// Text that somebody else made acts on no terminal and makes no row, in whatever form it is printed; and bytes that are no text are
/// taken for none.
@Suite struct HostileTextTests {
    /// A row of its own, a colour, the title of the window by a C1 control, the other direction, what can't be seen.
    private static let hostile = "acme\n2026-11-28T08:15:30.000000Z  99  root  unwrap\u{1B}[31m\u{9B}2J\u{202E}live\u{200B}"
    private static let visible = #"acme\n2026-11-28T08:15:30.000000Z  99  root  unwrap\u{1b}[31m\u{9b}2J\u{202e}live\u{200b}"#

    /// No character that acts or hides, but the line feeds of our own.
    private func expectHarmless(_ bytes: some Sequence<UInt8>, _ what: Comment) throws {
        let text = try #require(String(validating: Array(bytes), as: UTF8.self))
        for scalar in text.unicodeScalars where scalar != "\n" {
            let category = scalar.properties.generalCategory
            #expect(![.control, .format, .lineSeparator, .paragraphSeparator].contains(category), "\(what): U+\(String(scalar.value, radix: 16))")
        }
    }

    @Test func contextsAndNamesInTheAuditLog() async throws {
        let installation = try await Installation.ready()
        let daemon = try await installation.startDaemon()
        try await installation.ok(
            "wrap", "--key", "payments", "--context", "tenant=\(Self.hostile)", "--on-behalf-of", "user=\(Self.hostile)", input: "x".utf8)
        try await daemon.stop()

        let table = try await installation.ok("audit", "show", "--operation", "wrap")
        try expectHarmless(table.bytes, "audit show")
        let rows = table.text.split(separator: "\n")
        #expect(rows.count == 2, "a heading and one row: \(table.text)")
        #expect(rows.last?.contains("tenant=\"\(Self.visible)\"") == true && rows.last?.contains("for user=\"\(Self.visible)\"") == true, "\(table.text)")

        let document = try await installation.ctl("audit", "show", "--operation", "wrap", "--json").exiting()
        try expectHarmless(document.bytes, "audit show --json")
        let records = try JSONSerialization.jsonObject(with: Data(document.bytes)) as? [[String: Any]]
        #expect((records?.first?["context"] as? [String: String])?["tenant"] == Self.hostile, "to programs it says the same")
        // The line as it stands is for programs, and verifies; a terminal gets it harmless.
        let lines = try await installation.ok("audit", "show", "--lines")
        #expect(try lines.bytes == installation.content("audit.jsonl"))
        let screen = try await installation.atTerminal(["audit", "show", "--lines"], answering: [:])
        try expectHarmless(screen.bytes.filter { $0 != 0x0D }, "audit show --lines at a terminal")
    }

    /// No value looks like another entry or another column, and none makes the other rows as long as itself.
    @Test func valuesThatLookLikeOthersOrAreLong() async throws {
        let installation = try await Installation.ready()
        let daemon = try await installation.startDaemon()
        let long = String(repeating: "\u{202E}", count: 300)
        try await installation.ok("wrap", "--key", "payments", "--context", "tenant=acme-1  allowed   custody.toml:26", input: "x".utf8)
        try await installation.ok("wrap", "--key", "payments", "--context", #"a b=c "d" \ region=eu"#, input: "x".utf8)
        try await installation.ok("wrap", "--key", "payments", "--context", "tenant=\(long)", "--on-behalf-of", "user=\(long)", input: "x".utf8)
        try await daemon.stop()
        let table = try await installation.ok("audit", "show", "--operation", "wrap").text
        let rows = table.split(separator: "\n")
        try #require(rows.count == 4, "\(table)")
        #expect(rows[1].contains(#" tenant="acme-1  allowed   custody.toml:26" "#), "\(table)")
        #expect(rows[2].contains(#" "a b"="c \"d\" \\ region=eu" "#), "\(table)")
        #expect(rows[3].contains("for user=\"\\u{202e}") && rows[3].contains("…(+"), "\(table)")
        #expect(rows.allSatisfy { $0.count < 1_000 }, "\(rows.map(\.count))")
        let records = try await installation.ctl("audit", "show", "--operation", "wrap", "--last", "1", "--json").exiting().json
        #expect(records.array.first?["context"]["tenant"].string == long, "to programs nothing is cut")
    }

    /// A token's label is of whoever initialised it.
    @Test func labelsOfTokens() async throws {
        let label = "x\u{1B}]0;y\u{7}\n\u{9B}\u{202E}z"
        let visible = #"x\u{1b}]0;y\u{7}\n\u{9b}\u{202e}z"#
        let installation = try await Installation()
        let made = try await installation.ok("token", "init", "--label", label, "--so-pin-file", installation.token.soPINFile)
        let uri = try #require(made.text.split(separator: "\n").first { $0.hasPrefix("URI") }).split(separator: " ")[1]
        let token = ["--token", String(uri)]
        for command in [
            ["slot", "list"], ["token", "show"] + token, ["key", "list"] + token, ["doctor"] + token, ["audit", "init"] + token,
            ["audit", "init"] + token, ["key", "generate", "payments"] + token, ["key", "list"] + token, ["key", "show", "payments"] + token,
            ["key", "disable", "payments", "--all"] + token, ["slot", "list", "--json"], ["token", "show", "--json"] + token,
            ["doctor", "--json"] + token, ["token", "init", "--label", "other", "--so-pin-file", "x", "--erase", "no"],
            ["token", "init", "--label", label, "--slot", "0", "--so-pin-file", "x"], ["key", "destroy", "payments", "--version", "1"] + token,
        ] {
            let reply = try await installation.ctl(command)
            try expectHarmless(reply.bytes, "\(command)")
            try expectHarmless(reply.errors.utf8, "\(command)")
            if command.starts(with: ["slot", "list"]), !command.contains("--json") { #expect(reply.text.contains(visible)) }
        }
        let question = try await installation.atTerminal(
            ["key", "destroy", "payments", "--version", "1"] + token, answering: ["to go on: ": "no"])
        try expectHarmless(question.bytes.filter { $0 != 0x0D }, "the question at the terminal")
        #expect(question.text.contains("on token '\(visible)':"), "\(question.text)")
    }

    @Test func errorsAndPaths() async throws {
        let installation = try await Installation()
        for command in [
            ["wrap", "--\(Self.hostile)"], [Self.hostile], ["wrap", "--key", "a", "--context", Self.hostile], ["key", "generate", Self.hostile],
            ["wrap", "--key", "a", "--in", "no\(Self.hostile)"], ["audit", "verify", "--chain-only", "no\(Self.hostile)"],
            ["key", "list", "--pin-file", "no\(Self.hostile)"], ["key", "list", "--module", "no\(Self.hostile)"],
            ["policy", "check", "--user", Self.hostile, "--operation", "wrap", "--key", "a"], ["key", "list", "--token", Self.hostile],
        ] {
            for form in [[], ["--json"]] {
                let reply = try await installation.ctl(command + form)
                #expect(reply.status != .exited(0))
                try expectHarmless(reply.bytes, "\(command)")
                try expectHarmless(reply.errors.utf8, "\(command)")
                #expect(!reply.errors.contains("\n2026-"), "no line of somebody else's: \(reply.errors)")
            }
        }
    }

    /// What the configuration says is escaped, too, also in what the daemon tells on its standard error.
    @Test func theConfigurationsValues() async throws {
        let installation = try await Installation.ready(grants: Grants.everything + """

            context = { tenant = "a\\u001B[31m\\u202Eb" }
            """)
        for command in [["policy", "show"], ["policy", "show", "--json"]] {
            try expectHarmless(try await installation.ctl(command).exiting().bytes, "\(command)")
        }
        #expect(try await installation.ok("policy", "show").text.contains(#"tenant=a\u{1b}[31m\u{202e}b"#))
        let name = "audit\u{9B}\n\u{202E}.jsonl"
        let text = String(decoding: try installation.content("custody.toml"), as: UTF8.self)
            .replacing("file = \"audit.jsonl\"", with: "file = \"audit\\u009B\\n\\u202E.jsonl\"")
        try installation.directory.write("custody.toml", text)
        let daemon = try await installation.startDaemon(until: nil)
        let status = try await installation.ok("status")
        try expectHarmless(status.bytes, "status")
        #expect(status.text.contains(#"audit\u{9b}\n\u{202e}.jsonl"#), "\(status.text)")
        try expectHarmless(try await installation.ctl("status", "--json").exiting().bytes, "status --json")
        try expectHarmless(try await installation.ok("top", "--count", "1").bytes, "top")
        try expectHarmless(daemon.process.errors.utf8, "custodyd's log")
        #expect(daemon.process.errors.contains(#"audit\u{9b}\n\u{202e}.jsonl"#), "\(daemon.process.errors)")
        try await daemon.stop()
        #expect(FileManager.default.fileExists(atPath: installation.directory.file(name)))
    }

    // MARK: Bytes that are no text

    /// Different bytes must not become one name: they are refused before anything is done.
    @Test(arguments: [
        "custodyctl wrap --key payments --context \"$(printf 'tenant=m\\374ller')\"", "custodyctl unwrap --context \"$(printf 'tenant=m\\366ller')\"",
        "custodyctl audit show --tenant \"$(printf '\\377')\"", "custodyctl wrap --key payments --on-behalf-of \"$(printf 'user=\\355\\240\\200')\"",
        "custodyctl policy check --user \"$(printf 'b\\351')\" --operation status", "custodyd --config \"$(printf '\\351.toml')\"",
        "custody-mek encrypt acme --associated-data \"$(printf 'm\\374ller')\"", "custody-bench measure --key \"$(printf '\\377')\"",
        "custody-mek-bench --database \"$(printf '\\377')\"",
    ])
    func arguments(_ command: String) async throws {
        let installation = try await Installation()
        let reply = try await installation.start(["/bin/sh", "-c", command + " </dev/null"]).exiting(64)
        #expect(reply.bytes.isEmpty)
        let position = command.hasPrefix("custodyctl wrap") ? 5 : command.hasPrefix("custodyctl policy") || command.hasPrefix("custodyctl audit") || command.hasPrefix("custody-mek encrypt") ? 4 : 0
        #expect(reply.errors.contains("is refused: it is not UTF-8 text: its byte "), "\(reply.errors)")
        #expect(position == 0 || reply.errors.contains("argument \(position) is refused"), "\(reply.errors)")
        let json = try await installation.start(["/bin/sh", "-c", command + " --json </dev/null"]).exiting(64)
        #expect(try json.json["error"]["code"] == "usage")
    }

    @Test(arguments: ["CUSTODY_CONFIG", "CUSTODY_MEK_DATABASE", "CUSTODY_SOCKET", "AWS_REGION", "PGHOST", "HOME", "CREDENTIALS_DIRECTORY"])
    func environment(_ name: String) async throws {
        let installation = try await Installation()
        for program in ["custodyctl key list", "custody-mek status", "custodyd --check-config"] {
            let reply = try await installation.start(["/bin/sh", "-c", "\(name)=\"$(printf 'a\\374b')\" exec \(program)"]).exiting(64)
            #expect(reply.errors.contains("the environment variable \(name) is refused: byte 2 of its value"), "\(reply.errors)")
        }
        // What nobody here reads may be what it likes.
        _ = try await installation.start(["/bin/sh", "-c", "OTHER=\"$(printf 'a\\374b')\" exec custodyctl --help"]).exiting()
    }

    @Test func theConfigurationFile() async throws {
        let installation = try await Installation()
        try installation.directory.write("custody.toml", try installation.content("custody.toml") + Array("# m".utf8) + [0xFC] + Array("ller\n".utf8))
        for program in ["custodyd", "custodyctl policy show"] {
            let command = program.split(separator: " ").map(String.init) + ["--config", installation.configurationFile]
            let reply = try await installation.start(command).exiting(78)
            #expect(reply.errors.contains("UTF-8"), "\(reply.errors)")
        }
    }

    /// Two labels that look alike are two: each token has a URI of its own, and is erased by no text that it does not have.
    @Test func labelsThatAreNoText() async throws {
        let installation = try await Installation()
        for byte in ["374", "366"] {
            _ = try await installation.start(
                ["/bin/sh", "-c", "softhsm2-util --module \"$0\" --init-token --free --label \"$(printf 'm\\\(byte)ller')\" --so-pin 12345678 --pin 12345678", installation.token.modulePath],
                environment: installation.token.environment).exiting()
        }
        let tokens = try await installation.json("slot", "list")["slots"].array.map { $0["token"] }.filter { $0["initialized"] == true }
        let uris = tokens.compactMap { $0["uri"].string }
        #expect(Set(uris).count == 2 && uris.contains { $0.contains("token=m%FCller;") } && uris.contains { $0.contains("token=m%F6ller;") }, "\(uris)")
        for token in tokens {
            let shown = try await installation.json("token", "show", "--token", token["uri"].string ?? "")
            #expect(shown["token"]["serial"] == token["serial"])
        }
        for label in ["m\u{FFFD}ller", "müller"] {
            let refused = try await installation.refusal("token", "init", "--label", "new", "--erase", label, "--so-pin-file", installation.token.soPINFile, exit: 69)
            #expect(refused.code == "token-not-found")
        }
    }

    /// Without /proc the language's own list of arguments is empty: what was asked for would be the help, or every default.
    @Test(.enabled(if: geteuid() == 0, "only root unmounts /proc")) func argumentsWithoutProc() async throws {
        let installation = try await Installation.ready()
        let hiding = [
            "unshare", "--mount", "--propagation", "private", "sh", "-c", "umount -l /proc && test ! -e /proc/self && exec \"$@\"", "sh",
        ]
        guard try await installation.start(hiding + ["true"]).status == .exited(0) else {
            print("NOT SHOWN: programs without /proc; this machine does not let it be unmounted")
            return
        }
        let command = try await installation.start(hiding + ["custodyctl", "no-such-command"]).exiting(64)
        #expect(command.errors.contains("no-such-command"), "\(command.errors)")
        let option = try await installation.start(hiding + ["custodyd", "--no-such-option"]).exiting(64)
        #expect(option.errors.contains("no-such-option"), "\(option.errors)")
        let disabled = try await installation.start(
            hiding + ["custodyctl", "key", "disable", "payments", "--all", "--config", installation.configurationFile])
        let state = try await installation.json("key", "list")["keys"][0]["versions"][0]["state"]
        #expect((disabled.status == .exited(0)) == (state == "disabled"), "\(disabled.text)\(disabled.errors)")
    }

    /// A replacement character that somebody means is text like every other.
    @Test func aReplacementCharacterIsText() async throws {
        let installation = try await Installation.ready()
        let daemon = try await installation.startDaemon()
        let blob = try await installation.ok("wrap", "--key", "payments", "--context", "tenant=m\u{FFFD}ller", input: "content".utf8).bytes
        #expect(try await installation.ok("unwrap", "--context", "tenant=m\u{FFFD}ller", input: blob).text == "content")
        try await daemon.stop()
    }
}
