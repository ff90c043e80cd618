import TestSupport
import Testing

@testable import Custody

/// What rules make of a caller who has dropped groups, uses subordinate uids, or is in some unit.
@Suite struct IdentityPolicyTests {
    private static let owner: UInt32 = 1_001
    private static let group: UInt32 = 50

    private func principal(
        uid: UInt32 = owner, process: [UInt32] = [], account: [UInt32]? = [], withdrawn: [UInt32] = [], considered: Set<UInt32>? = nil,
        subordination: Subordination? = nil, unit: String? = nil
    ) -> Principal {
        Principal(
            uid: uid, subordination: subordination,
            groups: Groups(ofProcess: process, ofAccount: account, withdrawn: withdrawn, considered: considered),
            unit: unit.flatMap { SystemdUnit(cgroup: $0) }, pid: 1)
    }

    private static let toGroup = Subject.group(name: "g", gid: group)
    private static let toOwner = Subject.user(name: "owner", uid: owner)

    private func isAllowed(_ principal: Principal, _ grants: [Grant], _ denials: [Denial] = []) -> Bool {
        if case .allowed = Policy(grants: grants, denials: denials).decide(principal, .wrap, key: "k", context: .empty) { true } else { false }
    }

    private func grant(_ subject: Subject, unit: String? = nil, subordinates: Bool = false) -> Grant {
        Grant(rule: "g", subject: subject, unit: unit, includesSubordinates: subordinates, keys: [Pattern("*")], operations: .all)
    }

    // MARK: Groups

    @Test func aDroppedGroupIsStillDeniedAndLimited() {
        let dropped = principal(process: [], account: [Self.group])
        let denial = Denial(rule: "d", subject: Self.toGroup)
        #expect(!isAllowed(dropped, [grant(Self.toOwner)], [denial]))
        #expect(isAllowed(principal(account: [51]), [grant(Self.toOwner)], [denial]))
        #expect(Limit(rule: "l", subject: Self.toGroup, perDay: 1).concerns(dropped, .wrap, key: "k"))
        // A grant takes the kernel's word, and not the database's.
        #expect(!isAllowed(dropped, [grant(Self.toGroup)]))
        #expect(isAllowed(principal(process: [Self.group]), [grant(Self.toGroup)]))
    }

    @Test func whatTheDatabaseDoesNotAnswerIsTakenForTheWorst() {
        let denial = Denial(rule: "d", subject: Self.toGroup)
        #expect(!isAllowed(principal(account: nil), [grant(Self.toOwner)], [denial]))
        // A group that nobody has looked for yet.
        #expect(!isAllowed(principal(considered: [51]), [grant(Self.toOwner)], [denial]))
        #expect(isAllowed(principal(considered: [50, 51]), [grant(Self.toOwner)], [denial]))
        #expect(isAllowed(principal(account: nil), [grant(Self.toOwner)], [Denial(rule: "d", subject: .user(name: "x", uid: 7))]))
    }

    @Test func aGroupThatWasTakenAwayGivesNothing() {
        let old = principal(process: [Self.group], account: [], withdrawn: [Self.group])
        #expect(!isAllowed(old, [grant(Self.toGroup)]))
        #expect(isAllowed(old, [grant(Self.toOwner)]))
        #expect(!isAllowed(old, [grant(Self.toOwner)], [Denial(rule: "d", subject: Self.toGroup)]), "the process has it still")
    }

    // MARK: Subordinate uids

    private func subordinate(_ uid: UInt32, process: [UInt32] = [group]) -> Principal {
        principal(uid: uid, process: process, subordination: Subordination(account: Self.owner, owners: [Self.owner], ownerName: "owner"))
    }

    @Test func aSubordinateUIDIsNotItsOwnerAndDeniedWithIt() {
        let (sub, grants) = (subordinate(300_007), [grant(Self.toGroup, subordinates: true)])
        #expect(!isAllowed(sub, [grant(Self.toOwner)]))
        #expect(!isAllowed(sub, [grant(Self.toGroup)]))
        #expect(isAllowed(sub, grants))
        #expect(!isAllowed(sub, grants, [Denial(rule: "d", subject: Self.toOwner)]))
        #expect(isAllowed(sub, [grant(.user(name: "300007", uid: 300_007))]), "its own number may be granted something")
        let nobodys = principal(uid: 300_007, process: [Self.group], subordination: Subordination(account: 300_000, owners: nil, ownerName: nil))
        #expect(!isAllowed(nobodys, grants, [Denial(rule: "d", subject: Self.toOwner)]), "it may be the owner's")
        #expect(isAllowed(nobodys, grants))
    }

    @Test func aNameMeansNobodyWhereARangeOverlaps() {
        let sub = Subordination(account: 7, owners: [7], ownerName: "seven")
        #expect(!isAllowed(principal(subordination: sub), [grant(Self.toOwner)]))
        #expect(isAllowed(principal(subordination: sub), [grant(.user(name: "1001", uid: 1_001))]))
        let assumed = Principal(uid: 8, groups: Groups(ofProcess: [Self.group], ofAccount: [], assumable: [Self.group]), pid: 1)
        #expect(!isAllowed(assumed, [grant(Self.toGroup)]))
        #expect(isAllowed(assumed, [grant(.group(name: "50", gid: 50))]))
        #expect(Policy(grants: [grant(Self.toOwner)]).objection(to: principal(subordination: sub)).contains("subordinate uids"))
    }

    @Test func onePersonHasOneCountAndOneAccount() {
        let limiter = Limiter([Limit(rule: "l", perDay: 3)])
        let everybody = [principal(process: [Self.group])] + (0..<10).map { subordinate(300_000 + $0) }
        #expect(everybody.count { limiter.admit($0, .unwrap, key: "k") == nil } == 3)
        #expect(limiter.reports.map(\.scope) == ["user owner"])
        let policy = Policy(grants: [grant(Self.toGroup, subordinates: true)])
        #expect(Set(everybody.map(policy.account)) == [Self.owner])
        #expect(Policy(grants: [grant(Self.toGroup)]).account(of: subordinate(300_000)) == .max)
    }

    @Test func theRecordNamesBothAndTheUnit() throws {
        let caller = Principal(
            uid: 300_007, subordination: Subordination(account: Self.owner, owners: [Self.owner], ownerName: "owner"),
            groups: Groups(ofProcess: [Self.group], ofAccount: []), unit: SystemdUnit(cgroup: "/system.slice/billing.service"), pid: 5)
        let record = AuditRecord(
            principal: caller, connection: 1, request: 2, item: 0, onBehalfOf: .empty, outcome: .allowed(rule: "r"), latencyMicroseconds: 1)
        let text = String(decoding: record.content.bytes, as: UTF8.self)
        for field in [#""uid":300007"#, #""account":1001"#, #""owner":"owner""#, #""gids":[50]"#, #""unit":"billing.service""#] {
            #expect(text.contains(field), "\(text)")
        }
    }

    // MARK: Units

    @Test func aUnitNarrowsAGrant() {
        let grants = [grant(Self.toOwner, unit: "billing.service")]
        #expect(isAllowed(principal(unit: "/system.slice/billing.service"), grants))
        #expect(isAllowed(principal(unit: "/system.slice/billing.service/worker"), grants))
        #expect(!isAllowed(principal(uid: 7, unit: "/system.slice/billing.service"), grants), "the user counts as well")
        #expect(!isAllowed(principal(unit: "/system.slice/other.service"), grants))
        #expect(!isAllowed(principal(), grants), "not known")
        #expect(!isAllowed(principal(unit: "/user.slice/user-1001.slice/user@1001.service/app.slice/billing.service"), grants))
        let slice = [grant(Self.toOwner, unit: "system.slice")]
        #expect(isAllowed(principal(unit: "/system.slice/billing.service"), slice))
        #expect(!isAllowed(principal(unit: "/user.slice/user-1001.slice/user@1001.service/system.slice/x.service"), slice))
        let policy = Policy(grants: grants)
        #expect(policy.mayName(principal()) && !policy.names(principal()))
    }

    @Test(arguments: [
        ("/system.slice/billing.service", "billing.service", ["system.slice"]),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service", ["system.slice", "system-getty.slice"]),
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope", ["user.slice", "user-1000.slice"]),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/billing.service", "user@1000.service", ["user.slice", "user-1000.slice"]),
        ("/system.slice/docker-0a.scope/system.slice/billing.service", "docker-0a.scope", ["system.slice"]),
        ("/init.scope", "init.scope", []), (#"/system.slice/dev-sd\x2da.swap"#, #"dev-sd\x2da.swap"#, ["system.slice"]),
        ("/system.slice/_memory.service", "memory.service", ["system.slice"]), ("/system.slice/billing.service (deleted)", nil, []),
        ("/", nil, []), ("", nil, []), ("/system.slice", nil, []), ("/../../system.slice/billing.service", nil, []),
        ("/docker/0a/system.slice/billing.service", nil, []), ("/system.slice/b\u{e4}.service", nil, []),
        ("/system.slice/\(String(repeating: "a", count: 300)).service", nil, []),
    ] as [(String, String?, [String])])
    func theUnitIsTheFirstThatIsNoSlice(_ path: String, _ name: String?, _ slices: [String]) {
        let unit = SystemdUnit(cgroup: path)
        #expect(unit?.name == name)
        #expect(unit?.slices ?? [] == slices)
    }
}
