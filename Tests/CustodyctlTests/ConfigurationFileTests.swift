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

    @Test(arguments: [
        (from: "socket-mode = \"0666\"", to: "socket-mode = \"rw\"", line: 3, says: "octal"),
        (from: "uri = \"pkcs11:token=custody\"", to: "uri = \"custody\"", line: 7, says: "pkcs11:"),
        (from: "pin-file = \"pin\"", to: "pinfile = \"pin\"", line: 8, says: "'pinfile' is not known"),
        (from: "look-interval-ms = 50", to: "look-interval-ms = 1", line: 12, says: "from 50 to 60000"),
        (from: "keys = [\"*\"]", to: "keys = \"*\"", line: 21, says: "'keys' must be an array"),
        (from: "\"unwrap\", ", to: "\"open\", ", line: 22, says: "there is no operation 'open'"),
        (from: "[audit]", to: "[audit", line: 14, says: ""),
        (from: "user = ", to: "user = \"nobody-of-this-name\" #", line: 20, says: "no user 'nobody-of-this-name'"),
    ])
    func broken(_ from: String, _ to: String, _ line: Int, _ says: String) async throws {
        let installation = try await Installation()
        let good = String(decoding: try installation.content("custody.toml"), as: UTF8.self)
        try #require(good.contains(from))
        _ = try await installation.start(["custodyd", "--check-config", "--config", installation.configurationFile]).exiting()
        try installation.directory.write("custody.toml", good.replacing(from, with: to))

        let place = "\(installation.configurationFile):\(line): "
        for command in [["custodyd", "--check-config"], ["custodyd"], ["custodyctl", "slot", "list"], ["custodyctl", "status"]] {
            let reply = try await installation.start(command + ["--config", installation.configurationFile]).exiting(78)
            #expect(reply.bytes.isEmpty)
            #expect(reply.errors.contains(place), "\(command): \(reply.errors)")
            #expect(reply.errors.contains(says), "\(command): \(reply.errors)")
        }
        let refused = try await installation.refusal("key", "list", exit: 78)
        #expect(refused.code == "configuration-error")
        #expect(refused.message.contains(place))
    }

    @Test func allThatIsWrongIsSaidAtOnce() async throws {
        let installation = try await Installation()
        let broken = String(decoding: try installation.content("custody.toml"), as: UTF8.self)
            .replacing("socket-mode = \"0666\"", with: "socket-mode = \"rw\"").replacing("look-interval-ms = 50", with: "look-interval-ms = 1")
        try installation.directory.write("custody.toml", broken)
        let reply = try await installation.start(["custodyd", "--check-config", "--config", installation.configurationFile]).exiting(78)
        #expect(reply.errors.split(separator: "\n").map { $0.prefix { $0 != " " } } == [3, 12].map { "\(installation.configurationFile):\($0):" })
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
