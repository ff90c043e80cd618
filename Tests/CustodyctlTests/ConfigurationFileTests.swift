import Foundation
import TestSupport
import Testing

/// A configuration file that is missing or broken: every program names the file and the line, and ends with 78.
@Suite struct ConfigurationFileTests {
    @Test func missing() async throws {
        let installation = try await Installation()
        let none = installation.directory.file("none.toml")
        for command in [["custodyctl", "key", "list"], ["custodyctl", "status"], ["custodyd"], ["custodyd", "--check-config"]] {
            let reply = try await installation.start(command + ["--config", none]).exiting(78)
            #expect(reply.bytes.isEmpty)
            #expect(reply.errors.contains(none), "\(reply.errors)")
            #expect(reply.errors.contains("No such file or directory"), "\(reply.errors)")
        }
        let byEnvironment = try await installation.start(["custodyctl", "key", "list", "--json"], environment: ["CUSTODY_CONFIG": none]).exiting(78)
        let refused = try Refusal(byEnvironment)
        #expect(refused.code == "configuration-error")
        #expect(refused.message.contains(none))
    }

    @Test func nothingIsNamed() async throws {
        let installation = try await Installation()
        let module = ["--module", installation.token.modulePath]
        let reply = try await installation.start(["custodyctl", "key", "list", "--json"] + module).exiting(78)
        #expect(try Refusal(reply).message.contains("--token"), "\(reply.errors)")
    }

    /// What a mistake is about, which commands it stops.
    enum Part { case token, audit, rest, syntax }

    @Test(arguments: [
        (from: "socket-mode = \"0666\"", to: "socket-mode = \"rw\"", part: .rest, line: 3, says: "octal"),
        (from: "uri = \"pkcs11:token=custody\"", to: "uri = \"custody\"", part: .token, line: 7, says: "pkcs11:"),
        (from: "pin-file = \"pin\"", to: "pinfile = \"pin\"", part: .token, line: 8, says: "'pinfile' is not known"),
        (from: "look-interval-ms = 50", to: "look-interval-ms = 1", part: .token, line: 12, says: "from 50 to 60000"),
        (from: "file = \"audit.jsonl\"", to: "file = 1", part: .audit, line: 15, says: "the path of the audit log"),
        (from: "[state]", to: "journal = 1\n[state]", part: .rest, line: 16, says: "'journal' must be true or false"),
        (from: "keys = [\"*\"]", to: "keys = \"*\"", part: .rest, line: 21, says: "'keys' must be an array"),
        (from: "\"unwrap\", ", to: "\"open\", ", part: .rest, line: 22, says: "there is no operation 'open'"),
        (from: "[audit]", to: "[audit", part: .syntax, line: 14, says: ""),
        (from: "user = ", to: "user = \"nobody-of-this-name\" #", part: .rest, line: 20, says: "no user 'nobody-of-this-name'"),
    ] as [(String, String, Part, Int, String)])
    func broken(_ from: String, _ to: String, _ part: Part, _ line: Int, _ says: String) async throws {
        let installation = try await Installation()
        let good = String(decoding: try installation.content("custody.toml"), as: UTF8.self)
        try #require(good.contains(from))
        _ = try await installation.start(["custodyd", "--check-config", "--config", installation.configurationFile]).exiting()
        try installation.directory.write("custody.toml", good.replacing(from, with: to))

        let place = "\(installation.configurationFile):\(line): "
        // The daemon is not there and the log is not either: a command that the mistake does not stop comes that far.
        for (command, stops, otherwise) in [
            (["custodyd", "--check-config"], true, 0), (["custodyd"], true, 0), (["custodyctl", "policy", "show"], true, 0),
            (["custodyctl", "slot", "list"], part == .token || part == .syntax, 0),
            (["custodyctl", "status"], part == .syntax, 69),
            (["custodyctl", "audit", "show"], part == .audit || part == .syntax, 0),
        ] as [([String], Bool, Int32)] {
            let reply = try await installation.start(command + ["--config", installation.configurationFile]).exiting(stops ? 78 : otherwise)
            #expect(reply.bytes.isEmpty || !stops)
            #expect(reply.errors.contains(stops ? place : "custodyctl: warning: \(place)"), "\(command): \(reply.errors)")
            #expect(says.isEmpty || reply.errors.contains(says), "\(command): \(reply.errors)")
        }
        if part == .token || part == .syntax {
            let refused = try await installation.refusal("key", "list", exit: 78)
            #expect(refused.code == "configuration-error")
            #expect(refused.message.contains(place))
        }
    }

    private static let strangers = """
        [[grant]]
        user = "nobody-of-this-name"
        keys = ["payments"]
        operations = ["open"]
        """

    /// The kill switch works although the rules are wrong, for instance since a user was removed.
    @Test func mistakeElsewhereDoesNotKeepAKeyEnabled() async throws {
        let installation = try await Installation.ready(grants: Self.strangers)
        let reply = try await installation.ctl("key", "disable", "payments", "--all", "--json").exiting()
        let warnings = reply.errors.split(separator: "\n")
        #expect(warnings.count == 2, "\(reply.errors)")
        #expect(warnings.allSatisfy { $0.hasPrefix("custodyctl: warning: \(installation.configurationFile):") }, "\(reply.errors)")
        #expect(try await installation.json("key", "list")["keys"].array.first?["versions"].array.first?["state"] == "disabled")
        let checks = try await installation.json("doctor")["checks"].array
        #expect(checks.first?["level"] == "warn")
    }

    /// Nor a file that is no TOML, for who says by flags what is needed; but for nobody else.
    @Test(arguments: ["[token", "[token]\nuri = 1"])
    func flagsDoWithoutTheFile(_ text: String) async throws {
        let installation = try await Installation.ready()
        try installation.directory.write("custody.toml", text)
        let environment = ["SOFTHSM2_CONF": installation.directory.file("softhsm2.conf")]
        let disable = [
            "custodyctl", "key", "disable", "payments", "--all", "--json", "--config", installation.configurationFile,
            "--module", installation.token.modulePath, "--token", Installation.uri,
        ]
        _ = try await installation.start(disable, environment: environment).exiting(78)
        let reply = try await installation.start(disable + ["--pin-file", installation.directory.file("pin")], environment: environment).exiting()
        #expect(try reply.json["error"] == .null)
        #expect(reply.errors.hasPrefix("custodyctl: warning: \(installation.configurationFile):"), "\(reply.errors)")
    }

    @Test func allThatIsWrongIsSaidAtOnce() async throws {
        let installation = try await Installation()
        let broken = String(decoding: try installation.content("custody.toml"), as: UTF8.self)
            .replacing("socket-mode = \"0666\"", with: "socket-mode = \"rw\"").replacing("look-interval-ms = 50", with: "look-interval-ms = 1")
        try installation.directory.write("custody.toml", broken)
        let reply = try await installation.start(["custodyd", "--check-config", "--config", installation.configurationFile]).exiting(78)
        #expect(reply.errors.split(separator: "\n").map { $0.prefix { $0 != " " } } == [3, 12].map { "\(installation.configurationFile):\($0):" })
    }

    /// Who could write the file could give himself a grant, or have another library loaded.
    @Test(.enabled(if: getuid() == 0, "only root can give a file away"))
    func itIsSomebodyElses() async throws {
        let installation = try await Installation()
        let file = installation.configurationFile
        for (change, says) in [("chmod 666", "chmod go-w \(file)"), ("chmod 620", "chmod go-w \(file)"), ("chown 64105", "belongs to uid 64105")] {
            _ = try await installation.start(["/bin/sh", "-ec", "chown 0 \(file); chmod 600 \(file); \(change) \(file)"]).exiting()
            for command in [["custodyd", "--check-config"], ["custodyd"], ["custodyctl", "key", "list"], ["custodyctl", "policy", "show"]] {
                let reply = try await installation.start(command + ["--config", file]).exiting(78)
                #expect(reply.errors.contains("\(file): is not trusted: ") && reply.errors.contains(says), "\(reply.errors)")
            }
        }
        // Whoever it belongs to may use it, and so may others if it is root's.
        chmod(installation.directory.path, 0o711)
        try FileManager.default.copyItem(atPath: "\(Products.directory)/custodyd", toPath: installation.directory.file("custodyd"))
        for owner in [64_105, 0] {
            _ = try await installation.start(["/bin/sh", "-ec", "chown \(owner) \(file); chmod 644 \(file)"]).exiting()
            let command = ["setpriv", "--reuid=64105", "--regid=64105", "--clear-groups", "./custodyd", "--check-config", "--config", file]
            _ = try await installation.start(command).exiting()
        }
    }

    /// Who could put another socket, log or state directory in the place of the daemon's could take its part.
    @Test func placesOfOthers() async throws {
        let installation = try await Installation()
        let good = String(decoding: try installation.content("custody.toml"), as: UTF8.self)
        let open = installation.directory.file("open")
        _ = try await installation.start(["/bin/sh", "-ec", "mkdir -m 777 open; mkdir -m 700 open/below; ln -s open/below link"]).exiting()
        for (from, to) in [
            ("socket = \"s\"", "socket = \"open/s\""), ("socket = \"s\"", "socket = \"link/s\""), ("file = \"audit.jsonl\"", "file = \"open/audit.jsonl\""),
            ("file = \"audit.jsonl\"", "file = \"open/below/audit.jsonl\""), ("directory = \"state\"", "directory = \"open/state\""),
            ("directory = \"state\"", "directory = \"open\""),
        ] {
            try installation.directory.write("custody.toml", good.replacing(from, with: to))
            let reply = try await installation.start(["custodyd", "--config", installation.configurationFile]).exiting(1)
            #expect(reply.errors.contains("\(open) ") && reply.errors.contains("-w \(open)"), "\(to): \(reply.errors)")
        }
        #expect(!FileManager.default.fileExists(atPath: open + "/s") && !FileManager.default.fileExists(atPath: open + "/below/audit.jsonl"))
    }

    /// A library that others can change is the operator's to judge.
    @Test func aLibraryOfOthers() async throws {
        let installation = try await Installation.ready()
        let daemon = try await installation.startDaemon()
        #expect(!daemon.process.errors.contains("others can change what the daemon loads"), "\(daemon.process.errors)")
        try await daemon.stop()
        chmod(installation.directory.file("softhsm2.conf"), 0o666)
        let warned = try await installation.startDaemon()
        #expect(warned.process.errors.contains("others can change what the daemon loads"), "\(warned.process.errors)")
        try await warned.stop()
        let checks = try await installation.json("doctor")["checks"].array.filter { $0["id"] == "module" }
        #expect(checks.map { $0["level"] } == ["ok", "warn"])
    }

    @Test func inOrder() async throws {
        let installation = try await Installation()
        let reply = try await installation.start(["custodyd", "--check-config", "--config", "custody.toml"]).exiting()
        #expect(reply.text == "custody.toml is in order\n")
        #expect(reply.errors.isEmpty)
        // It only looks: no socket, no audit log.
        #expect(throws: (any Error).self) { try installation.content("audit.jsonl") }
    }
}
