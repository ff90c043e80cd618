import TestSupport
import Testing

@testable import Custody

/// One policy, and many who ask something of it.
@Suite struct PolicyTableTests {
    private static let principals = [
        "alice": Principal(uid: 1_001, gids: [1_001, 50], pid: 1), "bob": Principal(uid: 1_002, gids: [1_002, 60], pid: 2),
        "carol": Principal(uid: 1_003, gids: [1_003, 50, 60], pid: 3), "root": Principal(uid: 0, gids: [0], pid: 4),
        // Of the uid and gids that others have as gid and uid.
        "mallory": Principal(uid: 50, gids: [1_001, 1_002, 0], pid: 5), "nobody": Principal(uid: 65_534, gids: [65_534], pid: 6),
    ]

    private static func user(_ uid: UInt32) -> Subject { .user(name: "u", uid: uid) }
    private static func group(_ gid: UInt32) -> Subject { .group(name: "g", gid: gid) }
    private static func patterns(_ texts: String...) -> [Pattern] { texts.map(Pattern.init) }

    private static let policy = Policy(
        grants: [
            Grant(rule: "g1", subject: user(1_001), keys: patterns("payments", "billing-*"), operations: [.wrap, .unwrap]),
            Grant(rule: "g2", subject: group(50), keys: patterns("*"), operations: [.status, .reload]),
            Grant(rule: "g3", subject: group(60), keys: patterns("dev-*"), operations: .usingKeys),
            Grant(
                rule: "g4", subject: user(1_003), keys: patterns("*"), operations: [.unwrap, .decrypt],
                context: ["tenant": Pattern("acme-*"), "purpose": Pattern("mek")]),
            Grant(rule: "g5", subject: user(1_002), keys: patterns("storage"), operations: [.wrap, .encrypt, .decrypt]),
            Grant(rule: "g6", subject: user(0), keys: patterns("*"), operations: .all),
        ],
        denials: [
            Denial(rule: "d1", subject: nil, keys: patterns("*-retired"), operations: [.wrap, .generateDataKey, .encrypt]),
            Denial(rule: "d2", subject: group(60), context: ["tenant": Pattern("secret*")]),
            Denial(rule: "d3", subject: user(1_003), operations: [.reload]),
            Denial(rule: "d4", subject: user(0), keys: patterns("payments")),
            Denial(rule: "d5", subject: user(1_001), keys: patterns("billing-x", "billing-y*")),
            Denial(rule: "d6", subject: nil, context: ["purpose": Pattern("test"), "region": Pattern("*")]),
        ])

    /// Who, what, with which key (`-` for none), in which context (`-` for an empty one, `/` for none): the rule, `none` if no
    /// grant covers it, `unnamed` if no grant names who asks.
    @Test(arguments: [
        "alice wrap payments - g1", "alice unwrap payments - g1", "alice rewrap payments - none",
        "alice generate-data-key payments - none", "alice encrypt payments / none", "alice decrypt payments / none",
        "alice wrap billing- - g1", "alice wrap billing-1 - g1", "alice unwrap billing-1 tenant=any g1", "alice wrap billing - none",
        "alice wrap xbilling-1 - none", "alice wrap Payments - none", "alice wrap payments2 - none", "alice wrap payment - none",
        "alice wrap dev-1 - none", "alice wrap storage - none",
        "alice status - / g2", "alice reload - / g2",
        // Denied keys, whatever the grant; other keys of like names are not.
        "alice wrap billing-x - d5", "alice unwrap billing-x - d5", "alice unwrap billing-x tenant=a d5", "alice rewrap billing-x - d5",
        "alice decrypt billing-x / d5", "alice wrap billing-y - d5", "alice wrap billing-yz - d5", "alice wrap billing-xy - g1",
        "alice wrap billing-retired - d1", "alice unwrap billing-retired - g1", "alice generate-data-key billing-retired - d1",
        "alice encrypt billing-retired / d1", "alice wrap 1-retired - d1", "alice wrap retired - none",
        // Everyone's denial by context needs all of its entries.
        "alice wrap payments purpose=test g1", "alice wrap payments region=eu g1", "alice wrap payments purpose=test,region=eu d6",
        "alice wrap payments purpose=test,region= d6", "alice wrap payments purpose=tests,region=eu g1",
        "alice wrap payments purpose=test,region=eu,more=1 d6", "alice unwrap payments purpose=test,region=eu d6",
        "alice wrap payments tenant=secret g1",
        // By group; the raw forms have no context that a denial could match.
        "bob wrap dev-1 - g3", "bob unwrap dev-1 - g3", "bob rewrap dev-1 - g3", "bob generate-data-key dev-1 - g3",
        "bob encrypt dev-1 / g3", "bob decrypt dev-1 / g3", "bob status - / none", "bob reload - / none",
        "bob wrap dev-1 tenant=secret d2", "bob wrap dev-1 tenant=secret-1 d2", "bob unwrap dev-1 tenant=secrets,more=x d2",
        "bob rewrap dev-1 tenant=secret d2", "bob generate-data-key dev-1 tenant=secret d2", "bob wrap dev-1 tenant=topsecret g3",
        "bob wrap dev-1 Tenant=secret g3", "bob wrap dev-1 tenant=Secret g3", "bob wrap dev-1 tenant= g3",
        "bob wrap dev-retired - d1", "bob unwrap dev-retired - g3", "bob encrypt dev-retired / d1", "bob decrypt dev-retired / g3",
        "bob generate-data-key dev-retired - d1", "bob rewrap dev-retired - g3", "bob wrap storage - g5", "bob encrypt storage / g5",
        "bob decrypt storage / g5", "bob unwrap storage - none", "bob wrap storage tenant=secret d2", "bob wrap storage2 - none",
        "bob wrap payments - none", "bob wrap payments tenant=secret d2",
        // In two groups, with a grant of her own that needs a context of two entries.
        "carol status - / g2", "carol reload - / d3", "carol wrap dev-1 - g3", "carol unwrap dev-1 - g3",
        "carol unwrap payments tenant=acme-1,purpose=mek g4", "carol unwrap payments tenant=acme-,purpose=mek g4",
        "carol unwrap payments tenant=acme,purpose=mek none", "carol unwrap payments tenant=acme-1 none",
        "carol unwrap payments purpose=mek none", "carol unwrap payments tenant=acme-1,purpose=mek2 none",
        "carol unwrap payments - none", "carol unwrap payments tenant=acme-1,purpose=mek,more=x g4",
        "carol wrap payments tenant=acme-1,purpose=mek none", "carol decrypt payments / none", "carol decrypt dev-1 / g3",
        "carol unwrap dev-1 tenant=secret d2", "carol unwrap payments tenant=secret,purpose=mek d2",
        "carol unwrap acme-retired tenant=acme-1,purpose=mek g4", "carol wrap acme-retired tenant=acme-1,purpose=mek d1",
        "carol encrypt dev-1 / g3", "carol rewrap dev-1 purpose=test,region=x d6",
        // Root is a user like any other.
        "root wrap anything - g6", "root unwrap anything tenant=secret g6", "root encrypt anything / g6", "root decrypt anything / g6",
        "root rewrap anything - g6", "root generate-data-key anything - g6", "root status - / g6", "root reload - / g6",
        "root wrap payments - d4", "root unwrap payments - d4", "root decrypt payments / d4", "root wrap payments2 - g6",
        "root wrap old-retired - d1", "root unwrap old-retired - g6", "root wrap anything purpose=test,region=eu d6",
        // A uid is no gid.
        "mallory wrap payments - unnamed", "mallory status - / unnamed", "mallory reload - / unnamed", "mallory wrap storage - unnamed",
        "mallory unwrap dev-1 - unnamed", "mallory encrypt anything / unnamed", "nobody wrap payments - unnamed",
        "nobody status - / unnamed", "nobody reload - / unnamed", "nobody wrap dev-retired - d1",
        "nobody wrap dev-1 purpose=test,region=x d6", "nobody wrap dev-1 tenant=secret unnamed",
    ])
    func decision(_ row: String) throws {
        let words = row.split(separator: " ").map(String.init)
        try #require(words.count == 5)
        let principal = try #require(Self.principals[words[0]])
        let kind = try #require(Operation.Kind(rawValue: words[1]))
        let pairs = words[3].split(separator: ",").map { $0.split(separator: "=", omittingEmptySubsequences: false).map(String.init) }
        let context = words[3] == "/" ? nil : try EncryptionContext(pairs.filter { $0.count == 2 }.map { .init(key: $0[0], value: $0[1]) })
        let expected: Policy.Decision =
            switch words[4] {
            case "none": .denied(reason: "no grant of this principal covers it")
            case "unnamed": .denied(reason: "no grant names this principal")
            case let rule where rule.hasPrefix("d"): .denied(reason: "denied by \(rule)")
            case let rule: .allowed(rule: rule)
            }
        #expect(Self.policy.decide(principal, kind, key: words[2] == "-" ? nil : KeyName(stringLiteral: words[2]), context: context) == expected)
        // What is never looked up must never be allowed.
        if case .allowed = expected { #expect(Self.policy.mayEver(principal, kind)) }
    }

    @Test func keyThatNobodyNamesIsNotAllowed() {
        let root = Principal(uid: 0, gids: [0], pid: 4)
        for kind in Operation.Kind.allCases {
            let decision = Self.policy.decide(root, kind, key: nil, context: .empty)
            #expect((decision == .allowed(rule: "g6")) == !kind.usesKey, "\(kind)")
        }
    }

    @Test func whatIsDeniedAltogetherIsNotLookedUp() {
        let grants = [Grant.everything()]
        for kind in Operation.Kind.allCases {
            func mayEver(_ denial: Denial) -> Bool { Policy(grants: grants, denials: [denial]).mayEver(.owner, kind) }
            #expect(!mayEver(Denial(rule: "d", subject: nil)))
            #expect(!mayEver(Denial(rule: "d", subject: .group(name: "g", gid: 50), keys: [Pattern("a"), Pattern("**")])))
            #expect(mayEver(Denial(rule: "d", subject: nil, keys: [Pattern("root")])))
            #expect(mayEver(Denial(rule: "d", subject: nil, context: ["a": Pattern("*")])))
            #expect(mayEver(Denial(rule: "d", subject: .user(name: "s", uid: 2_000))))
            #expect(mayEver(Denial(rule: "d", subject: nil, operations: [.wrap])) == (kind != .wrap))
        }
        let policy = Policy(grants: grants, denials: [Denial(rule: "d", subject: nil, operations: [.unwrap])])
        #expect(policy.objection(to: .owner, .unwrap) == "denied by d")
        #expect(policy.objection(to: .owner, .wrap) == "no grant of this principal covers it")
        #expect(policy.objection(to: .stranger, .wrap) == Policy.unnamed)
    }

    @Test func unknownKeysAreFoundWithTheirRules() {
        let rules = Rules(policy: Self.policy, limits: [Limit(rule: "l1", keys: [Pattern("gone"), Pattern("dev-*")], perDay: 1)])
        let unknown = rules.unknownKeys(on: ["payments", "billing-x"]).map { "\($0.rule) \($0.key)" }
        #expect(unknown == ["g5 storage", "l1 gone"])
        #expect(rules.unknownKeys(on: ["payments", "billing-x", "storage", "gone"]).isEmpty)
    }
}
