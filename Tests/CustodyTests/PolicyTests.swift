import TestSupport
import Testing

@testable import Custody

@Suite struct PolicyTests {
    @Test(arguments: [
        ("", "", true), ("", "a", false), ("*", "", true), ("*", "anything", true), ("billing", "billing", true),
        ("billing", "billin", false), ("billing", "billing2", false), ("billing", "Billing", false),
        ("billing-*", "billing-a", true), ("billing-*", "billing-", true), ("billing-*", "billing", false),
        ("*-mek", "acme-mek", true), ("*-mek", "acme-mek2", false), ("a*b*c", "abc", true), ("a*b*c", "aXbYbZc", true),
        ("a*b*c", "aXc", false), ("**", "x", true), ("a*", "ba", false), ("*a*a*a*", "aa", false), ("?", "x", false),
        ("[a]", "a", false), (".", "x", false), ("\u{E9}", "e\u{301}", false), ("*b", "aaaaab", true), ("a*a", "a", false),
    ])
    func pattern(_ pattern: String, _ text: String, _ matches: Bool) {
        #expect(Pattern(pattern).matches(text) == matches)
    }

    @Test func manyStarsEndInTime() {
        let pattern = Pattern(String(repeating: "a*", count: 30) + "b")
        #expect(!pattern.matches(String(repeating: "a", count: 2_000)))
    }

    @Test func nothingIsAllowedByDefault() {
        for kind in Operation.Kind.allCases {
            #expect(Policy(grants: []).decide(.owner, kind, key: "root", context: .empty) == .denied(reason: "no grant names this principal"))
            #expect(!Policy(grants: []).mayEver(.owner, kind))
        }
    }

    @Test func grantAllowsItsOperationsOnly() {
        let policy = Policy(grants: [
            Grant(rule: "r", subject: .user(name: "o", uid: 1_000), keys: [Pattern("billing-*")], operations: [.wrap, .unwrap])
        ])
        for kind in Operation.Kind.allCases {
            let isGranted = kind == .wrap || kind == .unwrap
            #expect((policy.decide(.owner, kind, key: "billing-1", context: .empty) == .allowed(rule: "r")) == isGranted, "\(kind)")
            #expect(policy.mayEver(.owner, kind) == isGranted)
            #expect(!policy.mayEver(.stranger, kind))
        }
        #expect(policy.decide(.owner, .wrap, key: "storage", context: .empty) == .denied(reason: "no grant of this principal covers it"))
        #expect(policy.decide(.stranger, .wrap, key: "billing-1", context: .empty) == .denied(reason: "no grant names this principal"))
    }

    @Test func grantWithoutKeysOrOperationsAllowsNothing() {
        let subject = Subject.user(name: "o", uid: 1_000)
        let policy = Policy(grants: [
            Grant(rule: "1", subject: subject, keys: [], operations: [.wrap]),
            Grant(rule: "2", subject: subject, keys: [Pattern("*")], operations: []),
        ])
        #expect(policy.decide(.owner, .wrap, key: "root", context: .empty) == .denied(reason: "no grant of this principal covers it"))
    }

    @Test(arguments: [(UInt32(1_000), true), (50, true), (51, false), (0, false)])
    func groups(_ gid: UInt32, _ isMember: Bool) {
        let policy = Policy(grants: [
            Grant(rule: "g", subject: .group(name: "g", gid: gid), keys: [Pattern("*")], operations: [.wrap])
        ])
        #expect((policy.decide(.owner, .wrap, key: "root", context: .empty) == .allowed(rule: "g")) == isMember)
    }

    @Test func userGrantIsNotForTheGroupOfThatNumber() {
        let policy = Policy(grants: [Grant(rule: "u", subject: .user(name: "u", uid: 50), keys: [Pattern("*")], operations: [.wrap])])
        #expect(policy.decide(.owner, .wrap, key: "root", context: .empty) == .denied(reason: "no grant names this principal"))
    }

    @Test func contextPatternsMustAllMatch() throws {
        let policy = Policy(grants: [.everything(context: ["tenant": Pattern("acme-*"), "purpose": Pattern("mek")])])
        func isAllowed(_ context: EncryptionContext?, _ kind: Operation.Kind = .wrap) -> Bool {
            policy.decide(.owner, kind, key: "root", context: context) == .allowed(rule: "custody.toml:1")
        }
        #expect(isAllowed(try EncryptionContext(["tenant": "acme-1", "purpose": "mek"])))
        #expect(isAllowed(try EncryptionContext(["tenant": "acme-1", "purpose": "mek", "more": "x"])))
        #expect(!isAllowed(try EncryptionContext(["tenant": "acme-1"])))
        #expect(!isAllowed(try EncryptionContext(["tenant": "other", "purpose": "mek"])))
        #expect(!isAllowed(try EncryptionContext(["Tenant": "acme-1", "purpose": "mek"])))
        #expect(!isAllowed(.empty))
        // The raw form has no context that could match.
        #expect(!isAllowed(nil, .encrypt))
        #expect(!isAllowed(nil, .decrypt))
        // Status concerns no key and no context.
        #expect(isAllowed(nil, .status))
    }

    @Test func firstGrantThatAllowsIsTheRule() throws {
        let policy = Policy(grants: [
            .everything(keys: ["other"]),
            Grant(rule: "second", subject: .group(name: "g", gid: 50), keys: [Pattern("root")], operations: [.wrap]),
            Grant(rule: "third", subject: .user(name: "o", uid: 1_000), keys: [Pattern("*")], operations: [.wrap]),
        ])
        #expect(policy.decide(.owner, .wrap, key: "root", context: .empty) == .allowed(rule: "second"))
    }
}
