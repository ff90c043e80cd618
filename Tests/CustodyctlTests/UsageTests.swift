import Foundation
import TestSupport
import Testing

/// What the programs say to somebody who does not know them, or knows them wrongly.
@Suite struct UsageTests {
    private static let commands: [[String]] = [
        [], ["setup"], ["status"], ["top"], ["metrics"], ["wrap"], ["unwrap"], ["rewrap"], ["data-key"], ["slot"], ["slot", "list"],
        ["token"], ["token", "init"], ["token", "show"], ["token", "set-pin"], ["token", "retry-pin"], ["key"], ["key", "generate"], ["key", "list"], ["key", "show"], ["key", "rotate"],
        ["key", "deactivate"], ["key", "disable"], ["key", "enable"], ["key", "destroy"],
        ["doctor"], ["policy"], ["policy", "check"], ["policy", "show"], ["audit"], ["audit", "init"],
        ["audit", "verify"], ["audit", "show"], ["reload"], ["disconnect"],
    ]

    @Test func everyCommandHasAnExample() async throws {
        let installation = try await Installation()
        for command in Self.commands {
            let help = try await installation.start(["custodyctl"] + command + ["--help"]).exiting().text
            // The width of the help breaks lines.
            let words = help.split(whereSeparator: \.isWhitespace).joined(separator: " ")
            let example = (["custodyctl"] + command).joined(separator: " ") + " "
            #expect(words.contains(command.isEmpty ? example : "Example: " + example), "\(command): \(help)")
        }
        #expect(try await installation.start(["custodyd", "--help"]).exiting().text.contains("Example: custodyd --config "))
    }

    /// The list above is whole: a command that is added needs an example too.
    @Test func theListOfCommandsIsWhole() async throws {
        let installation = try await Installation()
        for group in [[], ["slot"], ["token"], ["key"], ["policy"], ["audit"]] {
            let help = try await installation.start(["custodyctl"] + group + ["--help"]).exiting().text
            let section = try #require(help.components(separatedBy: "SUBCOMMANDS:\n").last)
            let names = section.split(separator: "\n").prefix { $0.hasPrefix("  ") }
                .filter { !$0.hasPrefix("   ") && !$0.contains("See '") }.compactMap { $0.split(separator: " ").first.map(String.init) }
            let known = Self.commands.filter { $0.count == group.count + 1 && $0.starts(with: group) }.compactMap(\.last)
            #expect(Set(names) == Set(known), "custodyctl \(group)")
        }
    }

    @Test(arguments: [
        ["bogus"], ["--bogus"], ["key", "bogus"], ["wrap"], ["wrap", "--key"], ["wrap", "--key", "a", "more"], ["key", "generate"],
        ["status", "--deadline-ms", "0"], ["status", "--deadline-ms", "soon"], ["key", "list", "--pin-file", "a", "--pin-fd", "3"],
        ["key", "list", "--pin-fd", "-1"], ["token", "init", "--label", ""], ["key", "list", "--pin", "1234"],
    ])
    func wrongUsage(_ arguments: [String]) async throws {
        let installation = try await Installation()
        let reply = try await installation.start(["custodyctl"] + arguments).exiting(64)
        #expect(reply.bytes.isEmpty, "errors are no output")
        #expect(reply.errors.hasPrefix("custodyctl: "), "\(reply.errors)")
        let refused = try Refusal(try await installation.start(["custodyctl"] + arguments + ["--json"]).exiting(64))
        #expect(refused.code == "usage")
    }

    @Test func aTokenThatCanNotBeMeant() async throws {
        let installation = try await Installation.ready(keys: [])
        #expect(try await installation.refusal("key", "list", "--token", "custody", exit: 64).code == "invalid-uri")
        let absent = try await installation.refusal("key", "list", "--token", "pkcs11:token=other", exit: 69)
        #expect(absent.code == "token-not-found")
        #expect(absent.message.contains("other"), "\(absent.message)")
        let module = try await installation.refusal("slot", "list", "--module", "/nowhere/module.so", exit: 69)
        #expect(module.code == "module-not-loaded")
        #expect(module.message.contains("/nowhere/module.so"), "\(module.message)")
    }
}
