import Custody
import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import CustodyServer

/// What is made of a peer, by an account database that a test makes.
@Suite struct IdentitiesTests {
    /// Users alice (1001) and bob (1002), whose groups a test sets, and who has which subordinate uids.
    private final class World: Sendable {
        struct State {
            var groups: [UInt32: [UInt32]] = [:]
            var fails = false
            var ranges = ""
            var groupRanges = ""
            var gap: String?
            var version = 0
        }

        let state = Mutex(State())
        /// Held up while it is locked.
        let hang = DispatchSemaphore(value: 1)

        var database: AccountDatabase {
            AccountDatabase(
                user: { [self] uid throws(SystemAccounts.Unavailable) in
                    hang.wait()
                    hang.signal()
                    try answer()
                    return [1_001: ("alice", 1_001, 1_001), 1_002: ("bob", 1_002, 1_002)][uid]
                },
                uid: { [self] name throws(SystemAccounts.Unavailable) in
                    try answer()
                    return ["alice": 1_001, "bob": 1_002][name]
                },
                groups: { [self] entry, groups throws(SystemAccounts.Unavailable) in
                    try answer()
                    return state.withLock { $0.groups[entry.uid] ?? [] }.filter(groups.contains)
                },
                groupName: { _ in nil })
        }

        private func answer() throws(SystemAccounts.Unavailable) {
            guard !state.withLock({ $0.fails }) else { throw SystemAccounts.Unavailable(errorNumber: EIO) }
        }

        func identities(_ rules: Rules) -> Identities {
            Identities(
                rules, database: database,
                ranges: { [self] in state.withLock { SubordinateRanges(
                    ranges: SubordinateRanges.parse($0.ranges), groupRanges: SubordinateRanges.parse($0.groupRanges), gap: $0.gap) } },
                fingerprint: { [self] in state.withLock { [$0.version] } })
        }
    }

    private static let rules = Rules(
        policy: Policy(
            grants: [
                Grant(rule: "g1", subject: .user(name: "alice", uid: 1_001), keys: [Pattern("*")], operations: .all),
                Grant(rule: "g2", subject: .group(name: "staff", gid: 0), includesSubordinates: true, keys: [Pattern("*")], operations: .all),
            ],
            denials: [Denial(rule: "d", subject: .group(name: "denied", gid: 60))]))

    /// A peer of this uid with this process' own groups.
    private func completed(_ identities: Identities, uid: UInt32, isStranger: Bool = false) async throws -> Caller {
        var ends: [Int32] = [-1, -1]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        defer { for end in ends { close(end) } }
        let caller = try #require(identities.caller(PeerCredentials(uid: uid, gid: 0, pid: 1), on: ends[0]))
        await withCheckedContinuation { done in
            identities.complete(caller, process: nil, isStranger: isStranger) { done.resume() }
        }
        return caller
    }

    private func renew(_ identities: Identities, _ callers: Caller...) async {
        await withCheckedContinuation { done in identities.renew(callers.map { ($0, nil) }) { done.resume() } }
    }

    private func isDenied(_ caller: Caller) -> Bool {
        if case .denied = Self.rules.policy.decide(caller.principal, .wrap, key: "k", context: .empty) { true } else { false }
    }

    @Test func groupsOfTheDatabaseCountAndAreLookedAtAnew() async throws {
        let world = World()
        world.state.withLock { $0.groups = [1_001: [60]] }
        let identities = world.identities(Self.rules)
        let caller = try await completed(identities, uid: 1_001)
        #expect(caller.principal.user == "alice")
        #expect(isDenied(caller))
        world.state.withLock { $0.groups = [:] }
        #expect(isDenied(caller))
        await renew(identities, caller)
        #expect(!isDenied(caller))
        world.state.withLock { $0.groups = [1_001: [60]] }
        await renew(identities, caller)
        #expect(isDenied(caller))
    }

    @Test func aDatabaseThatFailsIsTakenForTheWorst() async throws {
        let world = World()
        world.state.withLock { $0.fails = true }
        let identities = world.identities(Self.rules)
        let caller = try await completed(identities, uid: 1_001)
        #expect(isDenied(caller))
        world.state.withLock { $0.fails = false }
        await renew(identities, caller)
        #expect(!isDenied(caller))
        // It fails later on: again.
        world.state.withLock { $0.fails = true }
        await renew(identities, caller)
        #expect(isDenied(caller))
        #expect(caller.principal.user == "alice", "the name that it had")
    }

    /// The test's own process has group 0, whatever the database says.
    @Test(.enabled(if: getgid() == 0, "for a process with group 0")) func aGroupThatIsTakenAwayGivesNothingAnyMore() async throws {
        let world = World()
        let identities = world.identities(Self.rules)
        // From systemd, say: the database never knew.
        let lent = try await completed(identities, uid: 1_002)
        #expect(!isDenied(lent))
        world.state.withLock { $0.groups = [1_002: [0]] }
        await renew(identities, lent)
        #expect(!isDenied(lent))
        world.state.withLock { $0.groups = [:] }
        await renew(identities, lent)
        #expect(isDenied(lent))
        // Connecting again does not help, nor does a database that does not answer.
        #expect(isDenied(try await completed(identities, uid: 1_002)))
        world.state.withLock { $0.fails = true }
        await renew(identities, lent)
        #expect(isDenied(lent))
        world.state.withLock { ($0.fails, $0.groups) = (false, [1_002: [0]]) }
        await renew(identities, lent)
        #expect(!isDenied(lent))
    }

    @Test func otherRulesAreJudgedByGroupsThatWereLookedFor() async throws {
        let world = World()
        world.state.withLock { $0.groups = [1_001: [61]] }
        let identities = world.identities(Self.rules)
        let caller = try await completed(identities, uid: 1_001)
        #expect(!isDenied(caller))
        var rules = Self.rules
        rules.policy = Policy(grants: rules.policy.grants, denials: [Denial(rule: "d", subject: .group(name: "other", gid: 62))])
        func denies() -> Bool {
            if case .denied = rules.policy.decide(caller.principal, .wrap, key: "k", context: .empty) { true } else { false }
        }
        // Of a group that was not looked for nothing is known, which is the worst.
        #expect(denies())
        identities.expect(rules)
        #expect(!identities.isComplete(caller))
        let fresh = try await completed(identities, uid: 1_001)
        #expect(identities.isComplete(fresh))
        if case .denied = rules.policy.decide(fresh.principal, .wrap, key: "k", context: .empty) { Issue.record("it is not in the group") }
    }

    // MARK: Subordinate uids

    @Test func aSubordinateUIDCountsAsItsOwner() async throws {
        let world = World()
        world.state.withLock { ($0.ranges, $0.groups) = ("alice:300000:65536\n1002:400000:10\nroot:500000:65536\nbob:1002:1\n", [1_001: [60]]) }
        let identities = world.identities(Self.rules)
        let alices = try await completed(identities, uid: 300_005)
        #expect(alices.principal.subordination == Subordination(account: 1_001, owners: [1_001], ownerName: "alice"))
        #expect(isDenied(alices), "a group of the owner is denied")
        #expect(try await completed(identities, uid: 400_009).principal.account == 1_002)
        let roots = try await completed(identities, uid: 500_007).principal
        #expect(roots.account == 500_000, "not root's own account, whose connections an operator needs")
        #expect(roots.subordination?.owners == [0])
        #expect(try await completed(identities, uid: 1_002).principal.subordination == nil, "a range that holds its owner")
        #expect(try await completed(identities, uid: 365_536).principal.subordination == nil)
        // A range that is added counts from the next connection on.
        world.state.withLock { ($0.ranges, $0.version) = ("alice:365536:1\n", 1) }
        #expect(try await completed(identities, uid: 365_536).principal.account == 1_001)
    }

    /// Accounts that are managed elsewhere often have the numbers of which this machine makes ranges.
    @Test(.enabled(if: getgid() == 0, "for a process with group 0")) func aRangeOverAccountsMakesNobodyOneOfThem() async throws {
        let world = World()
        world.state.withLock { ($0.ranges, $0.groupRanges, $0.groups) = ("bob:1001:5\n", "bob:0:1\n", [1_002: [0]]) }
        let identities = world.identities(Self.rules)
        #expect(isDenied(try await completed(identities, uid: 1_001)), "bob can be alice")
        #expect(isDenied(try await completed(identities, uid: 1_050)), "and give himself the group")
        // 1002 is in the range and its owner: not subordinate, and a member by the database.
        #expect(!isDenied(try await completed(identities, uid: 1_002)))
    }

    /// An account that lies in another one's range is that one's, and so is whatever it has itself.
    @Test func anOwnersOwnerIsConcerned() async throws {
        let world = World()
        // Bob (1002) is one of alice's uids (1001).
        world.state.withLock { ($0.ranges, $0.groups) = ("alice:1000:10\nbob:90000000:65536\n90000001:95000000:10\n", [1_001: [60]]) }
        let identities = world.identities(Self.rules)
        let near = try await completed(identities, uid: 90_000_004)
        #expect(near.principal.subordination == Subordination(account: 1_001, owners: [1_002, 1_001], ownerName: "alice"))
        #expect(isDenied(near), "a group of the owner's owner is denied")
        let far = try await completed(identities, uid: 95_000_003)
        #expect(far.principal.subordination == Subordination(account: 1_001, owners: [90_000_001, 1_002, 1_001], ownerName: "alice"))
        #expect(isDenied(far))
        #expect(try await completed(identities, uid: 1_002).principal.account == 1_001)
        #expect(try await completed(identities, uid: 1_001).principal.subordination == nil)
    }

    @Test func rangesInACircleHaveNoKnownOwner() async throws {
        let world = World()
        world.state.withLock { $0.ranges = "alice:1002:1\nbob:1001:1\nbob:90000000:10\n" }
        let identities = world.identities(Self.rules)
        for uid: UInt32 in [90_000_004, 1_001, 1_002] {
            let caller = try await completed(identities, uid: uid)
            #expect(caller.principal.subordination == Subordination(account: 1_001, owners: nil, ownerName: nil))
            #expect(isDenied(caller))
        }
    }

    @Test func aChainWithoutAnEndHasNoKnownOwner() {
        let text = (1...100).map { "\(1_000 * ($0 + 1)):\(1_000 * $0):10\n" }.joined()
        let ranges = SubordinateRanges(ranges: SubordinateRanges.parse(text), gap: nil)
        #expect(ranges.subordination(of: 1_005) == Subordination(account: 1_000, owners: nil, ownerName: nil))
        #expect(ranges.subordination(of: 90_005)?.account == 101_000)
        #expect(ranges.subordination(of: 90_005)?.owners == (91...101).map { UInt32(1_000 * $0) })
    }

    @Test func rangesThatAreNotKnown() async throws {
        let world = World()
        world.state.withLock { $0.gap = "a test" }
        let identities = world.identities(Self.rules)
        #expect(try await completed(identities, uid: 1_001).principal.subordination == nil, "it has a name")
        let nameless = try await completed(identities, uid: 300_005).principal
        #expect(nameless.subordination == Subordination(account: 262_144, owners: nil, ownerName: nil))
    }

    @Test func ownersThatCantBeAskedFor() async throws {
        let world = World()
        world.state.withLock { ($0.ranges, $0.fails) = ("alice:300000:65536\ncarol:400000:65536\n", true) }
        let identities = world.identities(Self.rules)
        let caller = try await completed(identities, uid: 300_005)
        #expect(caller.principal.subordination == Subordination(account: 300_000, owners: nil, ownerName: "alice"))
        world.state.withLock { $0.fails = false }
        await renew(identities, caller)
        #expect(caller.principal.account == 1_001)
        #expect(try await completed(identities, uid: 400_005).principal.subordination?.owners == [], "a user who is no more")
    }

    @Test func whoIsKnownDoesNotWaitForADatabaseThatHangs() async throws {
        let world = World()
        let identities = world.identities(Self.rules)
        _ = try await completed(identities, uid: 1_001)
        world.hang.wait()
        // Would not return.
        #expect(try await completed(identities, uid: 1_001).principal.user == "alice")
        world.hang.signal()
    }

    @Test(arguments: [
        ("alice:100000:65536", [100_000...165_535]), ("1000:0x186a0:010", [100_000...100_007]), ("root:1000:1", []), ("root:1000:2", [1_000...1_001]),
        ("alice:100000", []), (":1:1", []), ("alice:1:0", []), ("alice:-1:5", []), ("alice:1:x", []), ("alice:4294967290:100", [4_294_967_290...4_294_967_295]),
        ("alice:1:18446744073709551615", [1...4_294_967_295]), ("# a comment\n\nalice:5:1\nbob:7:1\r\n", [5...5]), ("alice:1:1:1", []),
        ("alice: 100:10", [100...109]), ("alice:\t+100: +0xa", [100...109]), ("alice:-18446744073709551516:10", [100...109]), ("alice:100 :10", []),
        ("alice:+-1:1", []), ("alice:0x+1:1", []), ("alice:0x:1", []), ("alice: :1", []), ("alice:0:1", [0...0]),
    ] as [(String, [ClosedRange<UInt32>])])
    func rangesAreReadAsNewuidmapDoes(_ text: String, _ uids: [ClosedRange<UInt32>]) {
        #expect(SubordinateRanges.parse(text).map(\.ids) == uids)
    }

    @Test func aSourceThatCantBeReadIsAGap() throws {
        let folder = try TemporaryDirectory()
        let ranges = try folder.write("subuid", "alice:100000:65536\n")
        let files = try folder.write("files", "subid: files [NOTFOUND=return] # sss\n")
        let other = try folder.write("other", "passwd: files\nsubid:  files sss\n")
        #expect(SubordinateRanges.read(file: ranges, groupFile: ranges, switchFile: files).gap == nil)
        #expect(SubordinateRanges.read(file: ranges, groupFile: ranges, switchFile: folder.file("none")).ranges.count == 1)
        #expect(SubordinateRanges.read(file: folder.file("none"), groupFile: folder.file("none"), switchFile: files).gap == nil)
        #expect(SubordinateRanges.read(file: ranges, groupFile: ranges, switchFile: other).gap?.contains("'sss'") == true)
        #expect(SubordinateRanges.read(file: folder.path, groupFile: ranges, switchFile: files).gap?.contains("can't be read") == true)
    }

    @Test(arguments: [
        ("", nil), ("alice:100000:65536\n# a comment\n\n  \nalice: 5:1\nroot:1000:1\nbob:7:0\n", nil), ("alice:1:1\nalice:1\n", 2), ("alice:1:x", 1),
        ("alice:5:1\r\n", 1), ("alice:1:1:1", 1), (":1:1", 1),
    ] as [(String, Int?)])
    func aLineThatCantBeReadIsAGap(_ text: String, _ line: Int?) throws {
        let folder = try TemporaryDirectory()
        let (file, none) = (try folder.write("subid", text), folder.file("none"))
        for ranges in [
            SubordinateRanges.read(file: file, groupFile: none, switchFile: none), SubordinateRanges.read(file: none, groupFile: file, switchFile: none),
        ] {
            #expect(ranges.gap == nil ? line == nil : line.map { ranges.gap?.contains("line \($0) of \(file)") == true } == true, "\(ranges.gap ?? "")")
        }
    }

    // MARK: The kernel's word

    @Test func aMapThatLeavesSomebodyOut() {
        #expect(OverflowIDs.mapsEverybody("         0          0 4294967295\n"))
        #expect(OverflowIDs.mapsEverybody("0 0 1000\n1000 1000 4294966295\n"))
        #expect(!OverflowIDs.mapsEverybody("         0       1000          1\n"))
        #expect(!OverflowIDs.mapsEverybody(""))
    }

    @Test(arguments: [
        ("0::/system.slice/billing.service\n", "billing.service"), ("0::/\n1:name=systemd:/system.slice/billing.service\n", "billing.service"),
        ("9:memory:/system.slice/other.service\n0::/system.slice/billing.service\n", "billing.service"),
        ("1:name=systemd:/system.slice/a.service\n0::/system.slice/b.service\n", nil), ("9:memory:/system.slice/other.service\n", nil),
        ("0::/../../system.slice/billing.service\n", nil), ("", nil),
    ] as [(String, String?)])
    func aUnitByItsControlGroup(_ text: String, _ unit: String?) {
        #expect(PeerProcess.unit(in: text)?.name == unit)
    }

    @Test func longListsAreCharged() {
        var pace = ListPace()
        let now = ContinuousClock.now
        let admitted = (0..<100).count { _ in pace.refusal(of: 7, now: now) == nil }
        #expect((20...22).contains(admitted), "\(admitted)")
        #expect(pace.refusal(of: 8, now: now) == nil)
        #expect(pace.refusal(of: 7, now: now + .seconds(1)) == nil)
    }
}
