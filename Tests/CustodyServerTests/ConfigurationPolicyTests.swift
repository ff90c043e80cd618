import Custody
import CustodyServer
import TestSupport
import Testing

/// `[[grant]]`, `[[deny]]` and `[[limit]]`.
@Suite struct ConfigurationPolicyTests {
    /// Six lines; what is tested begins on the seventh.
    private static let before = """
        [token]
        module = "softhsm2"
        uri = "pkcs11:token=custody"
        pin-file = "pin"
        [log]
        level = "info"

        """

    private func rules(_ text: String) throws -> Rules {
        try Configuration(Self.before + text, file: "/etc/custody/custody.toml").rules
    }

    @Test func allIsReadWithItsPlace() throws {
        let rules = try rules(
            """
            [[grant]]
            group = "root"
            operations = ["status", "reload"]
            [[grant]]
            user = "root"
            keys = ["*", "*-*", "a*.b_C-9"]
            operations = ["encrypt", "decrypt"]
            [[deny]]
            everyone = true
            keys = ["*-retired"]
            operations = ["wrap"]
            [[deny]]
            user = "4242"
            [[deny]]
            group = "root"
            context = { tenant = "acme-*" }
            [[limit]]
            per-second = 5
            [[limit]]
            user = "root"
            keys = ["payments"]
            operations = ["unwrap", "status"]
            per-second = 0.5
            burst = 20
            per-day = 1000
            per = "user-and-key"
            """)
        let root = Subject.group(name: "root", gid: 0)
        #expect(rules.policy.grants == [
            Grant(rule: "custody.toml:7", subject: root, keys: [Pattern("*")], operations: [.status, .reload]),
            Grant(
                rule: "custody.toml:10", subject: .user(name: "root", uid: 0), keys: ["*", "*-*", "a*.b_C-9"].map(Pattern.init),
                operations: [.encrypt, .decrypt]),
        ])
        #expect(rules.policy.denials == [
            Denial(rule: "custody.toml:14", subject: nil, keys: [Pattern("*-retired")], operations: [.wrap]),
            Denial(rule: "custody.toml:18", subject: .user(name: "4242", uid: 4_242)),
            Denial(rule: "custody.toml:20", subject: root, context: ["tenant": Pattern("acme-*")]),
        ])
        #expect(rules.limits == [
            Limit(rule: "custody.toml:23", perSecond: 5),
            Limit(
                rule: "custody.toml:25", subject: .user(name: "root", uid: 0), keys: [Pattern("payments")], operations: [.unwrap, .status],
                perSecond: 0.5, burst: 20, perDay: 1_000, per: .userAndKey),
        ])
        #expect(rules.unknownKeys(on: []).map(\.key.description) == ["payments"])
    }

    private static let grant = "[[grant]]\nuser = \"root\"\n"
    private static let deny = "[[deny]]\nuser = \"root\"\n"
    private static let limit = "[[limit]]\nper-day = 1\n"

    /// The line is counted from the table's own first.
    @Test(arguments: [
        (grant + "keys = []\noperations = [\"wrap\"]", 3, "'keys' is empty; name keys"),
        (grant + "keys = [\"*\"]\noperations = []", 4, "'operations' is empty; there are wrap, unwrap"),
        (grant + "keys = [\"pay ments\"]\noperations = [\"wrap\"]", 3, "'pay ments' can't be a key's name: 1 to 64 characters"),
        (grant + "keys = [\"\"]\noperations = [\"wrap\"]", 3, "'' can't be a key's name"),
        (grant + "keys = [\"-a\"]\noperations = [\"wrap\"]", 3, "'-a' can't be a key's name"),
        (grant + "keys = [\"-*\"]\noperations = [\"wrap\"]", 3, "'-*' can't be a key's name"),
        (grant + "keys = [\"a/*\"]\noperations = [\"wrap\"]", 3, "'a/*' can't be a key's name"),
        (grant + "keys = [\"a?\"]\noperations = [\"wrap\"]", 3, "'a?' can't be a key's name"),
        (grant + "keys = [\"\(String(repeating: "k", count: 65))\"]\noperations = [\"wrap\"]", 3, "can't be a key's name"),
        (grant + "keys = [\"*\"]\noperations = [\"wrap\", \"encrypt\"]\ncontext = { a = \"b\" }", 4, "encrypt has no context, so a grant with 'context' never allows it"),
        (grant + "keys = [\"*\"]\noperations = [\"decrypt\"]\ncontext = { a = \"b\" }", 4, "decrypt has no context"),
        (grant + "keys = [\"*\"]\noperations = [\"wrap\"]\ncontext = { \"\" = \"b\" }", 5, "a context key is empty"),
        (grant + "operations = [\"status\", \"wrap\"]", 1, "'keys' is missing"),
        (grant + "operations = [\"status\"]\neveryone = true", 4, "'everyone' is not known here; known are context, group, keys, operations, subordinate, unit, user"),
        (grant + "keys = 1\noperations = [\"status\"]", 3, "'keys' must be an array"),
        ("[[grant]]\nuser = 0\noperations = [\"status\"]", 2, "'user' must be a string"),
        ("[[deny]]\nkeys = [\"*\"]", 1, "a denial names one 'user' or one 'group', or says 'everyone = true'"),
        (deny + "group = \"root\"", 1, "a denial names one"),
        (deny + "everyone = true", 1, "a denial names one"),
        ("[[deny]]\neveryone = false", 2, "'everyone' is true or left out"),
        ("[[deny]]\neveryone = \"yes\"", 2, "'everyone' must be true or false"),
        ("[[deny]]\nuser = \"no-such-user-here\"", 2, "there is no user 'no-such-user-here'"),
        ("[[deny]]\ngroup = \"no-such-group-here\"", 2, "there is no group 'no-such-group-here'"),
        (deny + "operations = [\"export\"]", 3, "there is no operation 'export'"),
        (deny + "operations = []", 3, "'operations' is empty"),
        (deny + "keys = []", 3, "'keys' is empty"),
        (deny + "keys = [\"a b\"]", 3, "'a b' can't be a key's name"),
        (deny + "keys = [\"a\"]\noperations = [\"wrap\", \"status\"]", 4, "status has no key, so a denial with 'keys' or 'context' never concerns it"),
        (deny + "operations = [\"reload\"]\ncontext = { a = \"b\" }", 3, "reload has no key"),
        (deny + "operations = [\"encrypt\"]\ncontext = { a = \"b\" }", 3, "encrypt has no context, so a denial with 'context' never concerns it"),
        (deny + "context = { \"\" = \"b\" }", 3, "a context key is empty"),
        (deny + "note = \"x\"", 3, "'note' is not known here"),
        ("[[limit]]\nuser = \"root\"", 1, "a limit says 'per-second' or 'per-day' or both"),
        ("[[limit]]\nper-second = 0", 2, "'per-second' must be a number from 0.001 to 1000000.0"),
        ("[[limit]]\nper-second = -1.5", 2, "'per-second' must be a number"),
        ("[[limit]]\nper-second = nan", 2, "'per-second' must be a number"),
        ("[[limit]]\nper-second = inf", 2, "'per-second' must be a number"),
        ("[[limit]]\nper-second = \"5\"", 2, "'per-second' must be a number"),
        (limit + "burst = 3", 3, "'burst' goes with 'per-second', which is missing"),
        (limit + "per-second = 1\nburst = 0", 4, "'burst' must be a whole number from 1"),
        (limit + "per-second = 1\nburst = 1.5", 4, "'burst' must be a whole number"),
        ("[[limit]]\nper-day = 0", 2, "'per-day' must be a whole number from 1"),
        (limit + "user = \"root\"\ngroup = \"root\"", 1, "a limit names one 'user' or one 'group', or nobody"),
        (limit + "user = \"no-such-user-here\"", 3, "there is no user 'no-such-user-here'"),
        (limit + "per = \"uid\"", 3, "there is no 'per = \"uid\"'; there are user, key, user-and-key, everyone"),
        (limit + "keys = [\"/\"]", 3, "'/' can't be a key's name"),
        (limit + "operations = [\"open\"]", 3, "there is no operation 'open'"),
        (limit + "context = { a = \"b\" }", 3, "'context' is not known here"),
        ("[[grant]]\nuser = \"nobody\"\nkeys = [\"*\"]\noperations = [\"wrap\"]", 2, "stands for every user whom the kernel can't name"),
        ("[[grant]]\nuser = \"65534\"\nkeys = [\"*\"]\noperations = [\"wrap\"]", 2, "stands for every user whom the kernel can't name"),
        ("[[deny]]\ngroup = \"nogroup\"", 2, "stands for every group that the kernel can't name"),
        ("[[limit]]\nper-day = 1\nuser = \"65534\"", 3, "stands for every user whom the kernel can't name"),
        (grant + "unit = \"billing\"\nkeys = [\"*\"]\noperations = [\"wrap\"]", 3, "'billing' is no systemd unit that has processes"),
        (grant + "unit = \"b\u{e4}.service\"\nkeys = [\"*\"]\noperations = [\"wrap\"]", 3, "is no systemd unit that has processes"),
        (grant + "subordinate = true\nkeys = [\"*\"]\noperations = [\"wrap\"]", 3, "'subordinate' is for a grant of a group"),
        (deny + "unit = \"billing.service\"", 3, "'unit' is for grants"), (limit + "unit = \"billing.service\"", 3, "'unit' is for grants"),
        ("[deny]\nuser = \"root\"", 1, "'deny' must be tables, [[deny]]"),
    ])
    func mistakeHasItsLineAndWhatIsExpected(_ text: String, _ line: Int, _ expected: String) throws {
        let error = #expect(throws: ConfigurationError.self) { try rules(text) }
        let problems = try #require(error).problems.map(\.description)
        #expect(problems.count == 1, "\(problems)")
        #expect(problems.first?.hasPrefix("/etc/custody/custody.toml:\(line + 6): ") == true, "\(problems)")
        #expect(problems.first?.contains(expected) == true, "\(problems)")
    }

    @Test func unitAndSubordinateAreRead() throws {
        let grants = try rules(
            """
            [[grant]]
            user = "root"
            unit = "billing.service"
            operations = ["status"]
            [[grant]]
            group = "root"
            unit = "services.slice"
            subordinate = true
            operations = ["disconnect"]
            """).policy.grants
        #expect(grants.map(\.unit) == ["billing.service", "services.slice"])
        #expect(grants.map(\.includesSubordinates) == [false, true])
    }

    /// Tables that may share their line with others are told apart by their number.
    @Test func tablesOfOneLineHaveTheirPlaces() throws {
        func places(_ head: String) throws -> [String] {
            try Configuration(head + "\n" + Self.before, file: "/etc/custody/custody.toml").rules.policy.grants.map(\.rule)
        }
        let grant = "{ user = \"root\", operations = [\"status\"] }"
        #expect(try places("\ngrant = [\(grant), \(grant)]") == ["custody.toml:2 (grant 1)", "custody.toml:2 (grant 2)"])
        #expect(try places("grant = [\n \(grant),\n \(grant)\n]") == ["custody.toml:2 (grant 1)", "custody.toml:3 (grant 2)"])
        let error = #expect(throws: ConfigurationError.self) { try places("\ngrant = [\(grant), { user = \"root\" }]") }
        #expect(error?.problems.allSatisfy { $0.line == 2 } == true, "\(error?.description ?? "")")
    }

    @Test func numbersStandForThemselves() throws {
        let limits = try rules("[[limit]]\ngroup = \"99999\"\nper-day = 1").limits
        #expect(limits.first?.subject == .group(name: "99999", gid: 99_999))
    }

    @Test func accountsHaveTheirGroups() throws {
        let root = try #require(SystemAccounts.user("root"))
        #expect(root.uid == 0)
        #expect(root.gids.first == 0)
        #expect(SystemAccounts.user("0") == root)
        #expect(SystemAccounts.user("no-such-user-here") == nil)
        #expect(SystemAccounts.user("4000000000")?.gids == [])
        #expect(SystemAccounts.gid(ofGroup: "no-such-group-here") == nil)
        for noNumber in ["+0", "-0", "00", "4294967295"] {
            #expect(SystemAccounts.uid(ofUser: noNumber) == nil && SystemAccounts.gid(ofGroup: noNumber) == nil, "\(noNumber)")
            #expect(SystemAccounts.user(noNumber) == nil, "\(noNumber)")
        }
    }
}
