import Custody
import CustodyServer
import Foundation
import Logging
import PKCS11
import TestSupport
import Testing

@Suite struct ConfigurationTests {
    private static let smallest = """
        [token]
        module = "softhsm2"
        uri = "pkcs11:token=custody"
        pin-file = "pin"

        """

    private func problems(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) throws -> [String] {
        do throws(ConfigurationError) {
            _ = try Configuration(text, file: "/etc/custody/custody.toml")
        } catch {
            #expect(error.problems.allSatisfy { $0.file == "/etc/custody/custody.toml" }, sourceLocation: sourceLocation)
            return error.problems.map(\.description)
        }
        return []
    }

    @Test func smallestFileHasDefaults() throws {
        let configuration = try Configuration(Self.smallest, file: "/etc/custody/custody.toml")
        #expect(configuration.token.module == "softhsm2")
        #expect(configuration.token.uri.string == "pkcs11:token=custody")
        #expect(configuration.token.pin.path == "/etc/custody/pin")
        #expect(configuration.token.sessions == 1)
        #expect(!configuration.token.readWriteSessions)
        #expect(configuration.token.initializationString == nil)
        #expect(configuration.server.socket == "/run/custody/custody.sock")
        #expect(configuration.server.socketMode == 0o660)
        #expect(configuration.server.queueLimit == 1_024)
        #expect(configuration.server.connections == 1_024)
        #expect(configuration.server.requestsInFlight == 256)
        #expect(configuration.server.defaultDeadline == .seconds(5))
        #expect(configuration.server.longestDeadline == .seconds(60))
        #expect(configuration.server.drain == .seconds(5))
        #expect(configuration.audit.file == "/var/log/custody/audit.jsonl")
        #expect(configuration.logLevel == .info)
        #expect(configuration.keys.exceptions.isEmpty)
        #expect(configuration.keys.lookInterval == .milliseconds(500))
        #expect(configuration.environment.isEmpty)
        #expect(configuration.rules.policy.grants.isEmpty, "nothing is allowed by default")
    }

    @Test func everythingCanBeSaid() throws {
        let text = """
            [server]
            socket = "run/s.sock"
            socket-mode = "0600"
            queue = 7
            [token]
            module = "/opt/hsm.so"
            uri = "pkcs11:serial=1"
            pin-file = "/secret/pin"
            sessions = 4
            read-write-sessions = true
            initialization-string = "configdir=x"
            [token.environment]
            SOFTHSM2_CONF = "/etc/softhsm2.conf"
            [audit]
            file = "audit.jsonl"
            [log]
            level = "debug"
            [keys]
            use-without-proof = ["legacy"]
            [[grant]]
            user = "root"
            keys = ["billing-*"]
            operations = ["wrap", "generate-data-key"]
            context = { tenant = "acme-*" }
            [[grant]]
            group = "4242"
            keys = ["*"]
            operations = ["status"]
            """
        let configuration = try Configuration(text, file: "/srv/c/custody.toml")
        #expect(configuration.server.socket == "/srv/c/run/s.sock")
        #expect(configuration.server.socketMode == 0o600)
        #expect(configuration.server.queueLimit == 7)
        #expect(configuration.token.pin.path == "/secret/pin")
        #expect(configuration.token.sessions == 4)
        #expect(configuration.token.readWriteSessions)
        #expect(configuration.token.initializationString == "configdir=x")
        #expect(configuration.environment == ["SOFTHSM2_CONF": "/etc/softhsm2.conf"])
        #expect(configuration.audit.file == "/srv/c/audit.jsonl")
        #expect(configuration.logLevel == .debug)
        #expect(configuration.keys.exceptions == ["legacy"])
        let first = Grant(
            rule: "custody.toml:20", subject: .user(name: "root", uid: 0), keys: [Pattern("billing-*")],
            operations: [.wrap, .generateDataKey], context: ["tenant": Pattern("acme-*")])
        let second = Grant(rule: "custody.toml:25", subject: .group(name: "4242", gid: 4_242), keys: [Pattern("*")], operations: [.status])
        #expect(configuration.rules.policy.grants == [first, second])
    }

    /// Each is added behind the smallest file, whose last line is 4; the line is counted from there.
    @Test(arguments: [
        ("[server]\nsocket-mode = \"0999\"", 2, "'socket-mode' must be an octal mode"),
        ("[server]\nsocket-mode = \"1777\"", 2, "'socket-mode' must be an octal mode"),
        ("[server]\nqueue = 0", 2, "'queue' must be a whole number from 1 to 1000000"),
        ("[server]\nqueue = \"many\"", 2, "'queue' must be a whole number"),
        ("[server]\nqueue = 1.5", 2, "'queue' must be a whole number"),
        ("[server]\n\n# a comment\nsockets = \"x\"", 4, "'sockets' is not known here; known are connections"),
        ("[log]\nlevel = \"loud\"", 2, "'level' must be one of trace, debug"),
        ("[audit]\nfile = 3", 2, "'file' must be the path of the audit log"),
        ("[keys]\nuse-without-proof = \"legacy\"", 2, "'use-without-proof' must be an array of strings"),
        ("[keys]\nuse-without-proof = [1]", 2, "must be an array of strings"),
        ("[keys]\nlook-interval-ms = 49", 2, "from 50 to 60000"),
        ("[sever]\nsocket = \"x\"", 1, "'sever' is not known here; known are audit"),
        ("[token.environment]\nA = 1", 1, "a table of strings"),
        ("grant = 1", 1, "'grant' is not known here"),
        ("[[grant]]\nuser = \"no-such-user-here\"\nkeys = [\"*\"]\noperations = [\"wrap\"]", 2, "there is no user 'no-such-user-here'"),
        ("[[grant]]\ngroup = \"no-such-group-here\"\nkeys = [\"*\"]\noperations = [\"wrap\"]", 2, "there is no group 'no-such-group-here'"),
        ("[[grant]]\nuser = \"root\"\nkeys = [\"*\"]\noperations = [\"wrap\", \"export\"]", 4, "there is no operation 'export'; there are wrap, unwrap"),
        ("[[grant]]\nuser = \"root\"\ngroup = \"root\"\nkeys = [\"*\"]\noperations = [\"wrap\"]", 1, "one 'user' or one 'group'"),
        ("[[grant]]\nkeys = [\"*\"]\noperations = [\"wrap\"]", 1, "one 'user' or one 'group'"),
        ("[[grant]]\nuser = \"root\"\noperations = [\"wrap\"]", 1, "'keys' is missing; expected is an array of key names"),
        ("[[grant]]\nuser = \"root\"\nkeys = [\"*\"]", 1, "'operations' is missing"),
        ("[[grant]]\nuser = \"root\"\nkeys = \"*\"\noperations = [\"wrap\"]", 3, "'keys' must be an array"),
        ("[[grant]]\nuser = \"root\"\nkeys = [\"*\"]\noperations = [\"wrap\"]\nrole = \"x\"", 5, "'role' is not known here"),
        ("[[grant]]\nuser = \"root\"\nkeys = [\"*\"]\noperations = [\"wrap\"]\ncontext = { a = 1 }", 5, "a table of strings"),
    ])
    func mistakeHasItsLineAndWhatIsExpected(_ text: String, _ line: Int, _ expected: String) throws {
        let problems = try problems(Self.smallest + text)
        #expect(problems.count == 1, "\(problems)")
        let problem = try #require(problems.first)
        #expect(problem.hasPrefix("/etc/custody/custody.toml:\(line + 4): "), "\(problem)")
        #expect(problem.contains(expected), "\(problem)")
    }

    @Test(arguments: [
        ("[token]\nuri = \"pkcs11:token=a\"\npin-file = \"p\"", 1, "'module' is missing"),
        ("[token]\nmodule = \"m\"\npin-file = \"p\"", 1, "'uri' is missing"),
        ("[token]\nmodule = \"m\"\nuri = \"pkcs11:token=a\"", 1, "'pin-file' is missing"),
        ("[token]\nmodule = \"m\"\nuri = \"slot 1\"\npin-file = \"p\"", 3, "not a PKCS#11 URI"),
        ("[token]\nmodule = \"m\"\nuri = \"pkcs11:token=a\"\npin-file = \"p\"\npin-credential = \"c\"", 4, "not both"),
        ("[token]\nmodule = \"m\"\nuri = \"pkcs11:token=a\"\npin-file = \"p\"\nsessions = 65", 5, "from 1 to 64"),
        ("[token]\nmodule = \"m\"\nuri = \"pkcs11:token=a\"\npin-file = \"p\"\npin = \"73591846\"", 5, "'pin' is not known here"),
    ])
    func tokenIsChecked(_ text: String, _ line: Int, _ expected: String) throws {
        let problems = try problems(text)
        #expect(problems.count == 1, "\(problems)")
        let problem = try #require(problems.first)
        #expect(problem.hasPrefix("/etc/custody/custody.toml:\(line): "), "\(problem)")
        #expect(problem.contains(expected), "\(problem)")
        #expect(!problem.contains("73591846"))
    }

    @Test func pinInTheURIIsRefusedAndNotEchoed() throws {
        for uri in ["pkcs11:token=a?pin-value=73591846", "pkcs11:token=a;pin-value=73591846"] {
            let problems = try problems("[token]\nmodule = \"m\"\nuri = \"\(uri)\"\npin-file = \"p\"")
            #expect(problems.count == 1)
            #expect(!problems.joined().contains("73591846"))
        }
    }

    @Test func allMistakesAreToldAtOnceInTheirOrder() throws {
        let problems = try problems(Self.smallest + "[log]\nlevel = \"loud\"\n[server]\nqueue = 0\n[[grant]]\nkeys = 1\n")
        #expect(problems.count == 5, "\(problems)")
        let lines = problems.compactMap { $0.split(separator: ":").dropFirst().first.flatMap { Int($0) } }
        #expect(lines == [6, 8, 9, 9, 10])
    }

    @Test(arguments: [("[token\nmodule = 1", 1), ("[token]\nmodule = \"m\"\nmodule = \"n\"", 3), ("x", 1)])
    func whatIsNoTOMLHasItsLine(_ text: String, _ line: Int) throws {
        let problems = try problems(text)
        #expect(problems.count == 1)
        #expect(problems.first?.hasPrefix("/etc/custody/custody.toml:\(line): ") == true, "\(problems)")
    }

    /// However the file is written, what is wrong on its last line is told with that line.
    @Test(arguments: [
        "[log]\r\nlevel = \"info\"\r\n[server]\r\nqueue = 0",
        "[[grant]]\nuser = 1\n[['grant']]\nuser = 1",
        "[[grant]]\nuser = 1\n[[\tgrant\t]]\nuser = 1",
        "[ 'log' ]\nlevel = \"loud\"",
        "[audit]\nfile = 'x' # \"\"\"\n[log]\nlevel = 0",
        "[audit]\nfile = '\\' # [[grant]]\n[[grant]]\nuser = 1",
        "[audit]\nfile = \"\\\"\\n[[grant]]\" # x\n[[grant]]\nuser = 1",
        "[keys]\nuse-without-proof = [ # [log]\n'[log]',\n\"[[grant]]\",\r\n]\n[log]\nlevel = 0",
        "[audit]\nfile = \"'''\"\n[log]\nlevel = 0",
        "[audit]\nfile = \"a\\u2028b\"\n[log]\nlevel = 0",
    ])
    func linesAreCountedAsTOMLHasThem(_ text: String) throws {
        let lines = text.count { $0.isNewline } + 5
        let last = try #require(try problems(Self.smallest + text).last)
        #expect(last.hasPrefix("/etc/custody/custody.toml:\(lines): "), "\(last)")
    }

    /// A mistake elsewhere does not keep a command from what it needs.
    @Test func onlyWhatIsJudgedHasToBeRight() throws {
        let text = Self.smallest + """
            sessions = 0
            [server]
            socket = "s"
            socket-mode = "rw"
            [[grant]]
            user = "no-such-user-here"
            [sever]
            """
        func thrown(_ parts: Set<String>?) -> [Int?] {
            do throws(ConfigurationError) {
                _ = try Configuration(text, file: "/etc/c.toml", judging: parts)
            } catch {
                return error.problems.map(\.line)
            }
            return []
        }
        #expect(thrown(nil) == [5, 8, 9, 9, 10, 11])
        #expect(thrown(["token", "keys"]) == [5])
        #expect(thrown(["server"]) == [8])
        let configuration = try Configuration(text, file: "/etc/c.toml", judging: ["server.socket"])
        #expect(configuration.overlooked.map(\.line) == [5, 8, 9, 9, 10, 11])
        #expect(configuration.server.socket == "/etc/s")
        #expect(configuration.rules.policy.grants.isEmpty)
        #expect(try Configuration(Self.smallest, file: "/etc/c.toml").overlooked.isEmpty)
        // What is around it counts, and what is no TOML always.
        #expect(throws: ConfigurationError.self) { try Configuration("server = 1", file: "/etc/c.toml", judging: ["server.socket"]) }
        #expect(throws: ConfigurationError.self) { try Configuration("[server", file: "/etc/c.toml", judging: []) }
    }

    @Test func whatIsNoTOMLHasItsColumnAndWhatToWrite() throws {
        let mistakes = [
            ("[token]\nmodule = \"m\"\nmodule = \"n\"", "3: column 1: the key 'module' is in this table already, in line 2"),
            ("[token]\nmodule = softhsm2", "2: column 10: this is no value: a string needs quotes, and true and false have small letters"),
            ("[server]\nsocket-mode = 0660", "2: column 15: a number has no leading 0; if it is a text, such as a file mode, it needs quotes"),
        ]
        for (text, expected) in mistakes { #expect(try problems(text) == ["/etc/custody/custody.toml:\(expected)"]) }
        // With nothing of a PIN that has no place there.
        #expect(try problems("[token]\npin = 73591846x").joined().contains("7359") == false)
    }

    @Test func whyItCantBeReadIsSaid() async throws {
        let directory = try TemporaryDirectory()
        let pipe = directory.file("pipe")
        try #require(mkfifo(pipe, 0o600) == 0)
        for (path, reason) in [
            (directory.path, "Is a directory"), (pipe, "it is no regular file"), ("/dev/zero", "it is no regular file"),
            (directory.file("x/y"), "No such file or directory"),
        ] {
            let error = #expect(throws: ConfigurationError.self) { try Configuration(contentsOf: path) }
            #expect(error?.description == "\(path): can't be read: \(reason); name another with --config")
        }
        let binary = try directory.write("binary.toml", [0x61, 0xFF, 0xFE])
        let noText = #expect(throws: ConfigurationError.self) { try Configuration(contentsOf: binary) }
        #expect(noText?.description == "\(binary):1: column 2: this is no UTF-8 text; save the file as UTF-8")
        let long = try directory.write("long.toml", [UInt8](repeating: 0x23, count: 3_000_000))
        let tooLong = #expect(throws: ConfigurationError.self) { try Configuration(contentsOf: long) }
        #expect(tooLong?.description.contains("the file has more than 1048576 bytes") == true)
    }

    /// Who can put another file in its place decides what the daemon does.
    @Test func theWayToItIsTrusted() throws {
        let directory = try TemporaryDirectory()
        let open = directory.file("open")
        try FileManager.default.createDirectory(atPath: open, withIntermediateDirectories: false)
        let path = try directory.write("open/custody.toml", "[token]\n")
        try #require(chmod(open, 0o777) == 0)
        let link = directory.file("link.toml")
        try #require(symlink(path, link) == 0)
        for way in [path, link] {
            let error = #expect(throws: ConfigurationError.self) { try Configuration(contentsOf: way) }
            #expect(error?.description.contains("is not trusted: \(open) is a folder in which everybody can replace everything") == true, "\(way)")
        }
        try #require(chmod(open, 0o700) == 0)
        for way in [path, link] {
            let error = #expect(throws: ConfigurationError.self) { try Configuration(contentsOf: way) }
            #expect(error?.description.contains("not trusted") == false, "\(way)")
        }
        guard geteuid() == 0 else { return }
        try #require(lchown(link, 64_105, 64_105) == 0)
        let error = #expect(throws: ConfigurationError.self) { try Configuration(contentsOf: link) }
        #expect(error?.description.contains("\(link) is a symbolic link that others could have made") == true)
    }

    /// What a reload answers and records is short, whatever is in the file; and of one line for each mistake.
    @Test func mistakesAreToldInBoundedWords() throws {
        let name = String(repeating: "k", count: 300_000)
        let text = Self.smallest + "\"\(name)\" = 1\n\"\\n\\u001b[2J\" = 1\n" + String(repeating: "[[grant]]\nuser = \"\(name.prefix(2_000))\"\n", count: 100)
        let error = try #require(throws: ConfigurationError.self) { try Configuration(text, file: "/etc/c.toml") }
        #expect(error.problems.count == 302)
        #expect(error.problems.allSatisfy { $0.message.utf8.count < 2_000 })
        #expect(error.problems[0].message.hasPrefix("'kkk"))
        #expect(error.problems[0].message.contains(" ... "))
        #expect(error.problems[0].message.hasSuffix("known are canary-interval-ms, environment, hung-call-ms, hung-calls, initialization-string, module, pin-credential, pin-file, read-write-sessions, sessions, uri"))
        #expect(error.problems[1].description.hasPrefix("/etc/c.toml:6: '\\u{a}\\u{1b}[2J' is not known here"))
        #expect(error.summary.utf8.count < 20_000)
        #expect(error.summary.hasSuffix("\nand 292 more, which `custodyd --check-config` names"))
        #expect(error.summary.split(separator: "\n").count == 11)
    }

    @Test func socketPathThatNoSocketCanHaveIsRefused() throws {
        func problems(_ length: Int) throws -> [String] {
            try self.problems(Self.smallest + "[server]\nsocket = \"/\(String(repeating: "s", count: length - 1))\"")
        }
        #expect(try problems(107).isEmpty)
        #expect(try problems(108).first?.contains("has 108 bytes; a Unix socket's path has at most 107") == true)
    }

    @Test func credentialIsFoundInItsFolder() throws {
        let text = "[token]\nmodule = \"m\"\nuri = \"pkcs11:token=a\"\npin-credential = \"pin\""
        let folder = ProcessInfo.processInfo.environment["CREDENTIALS_DIRECTORY"] ?? "/run/credentials/custodyd.service"
        #expect(try Configuration(text, file: "/x/c.toml").token.pin.path == folder + "/pin")
    }

    @Test func fileIsReadAndPathsStartFromItsFolder() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write("custody.toml", Self.smallest)
        #expect(try Configuration(contentsOf: path).token.pin.path == directory.file("pin"))
        let missing = directory.file("missing.toml")
        let error = #expect(throws: ConfigurationError.self) { try Configuration(contentsOf: missing) }
        #expect(error?.description.contains("\(missing): can't be read: No such file") == true)
    }
}
