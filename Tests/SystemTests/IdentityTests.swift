import CustodyClient
import CustodyProtocol
import Foundation
import Glibc
import SecureMemory
import TestSupport
import Testing

/// Who is calling: groups by the thousand, dropped groups, subordinate uids, units, and what changes under a connection.
@Suite(.enabled(if: getuid() == 0, "only root can run a program as another user and mount over /etc")) struct IdentityTests {
    private static let (alice, group, other) = (AccountFiles.alice, AccountFiles.group, AccountFiles.otherGroup)
    /// As many supplementary groups as the kernel takes, the test's own among them.
    private static let everyGroup: [ClosedRange<UInt32>] = [10_000...75_534]

    private static func grant(_ subject: String, _ operations: String = "\"status\"", more: String = "") -> String {
        "\n[[grant]]\n\(subject)\noperations = [\(operations)]\nkeys = [\"*\"]\n\(more)\n"
    }

    private static func records(of uid: UInt32, _ daemon: RunningDaemon) throws -> [[String: Any]] {
        try daemon.audit().filter { ($0["uid"] as? NSNumber)?.uint32Value == uid }
    }

    // MARK: Groups

    @Test func groupsByTheThousandAreReducedToThoseThatRulesName() async throws {
        let rules = RunningDaemon.everything + Self.grant("group = \"\(Self.group)\"") + "[[deny]]\ngroup = \"\(Self.other)\"\noperations = [\"wrap\"]\n"
        let daemon = try await RunningDaemon.start(rules: rules)
        let anybody = try Anybody(daemon)
        let named = try await anybody.ctl("status", uid: 64_302, groups: Self.everyGroup)
        #expect(named.status == .exited(0), "\(named.errors)")
        try daemon.setRules(RunningDaemon.everything)
        _ = try await daemon.withClient { try await $0.reload() }
        let stranger = try await anybody.ctl("status", uid: 64_302, groups: Self.everyGroup)
        #expect(stranger.status == .exited(77))
        #expect(try Self.records(of: 64_302, daemon).map { $0["gids"] as? [Int] } == [[Int(Self.group), Int(Self.other)], []])
        let longest = try String(contentsOfFile: daemon.auditFile, encoding: .utf8).split(separator: "\n").map(\.utf8.count).max()
        #expect(try #require(longest) < 1_000)
    }

    @Test func aGroupThatWasDroppedIsStillDenied() async throws {
        let accounts = try await AccountFiles()
        try accounts.set(members: ["alice"], of: Self.group)
        let rules = RunningDaemon.everything + Self.grant("user = \"\(Self.alice)\"", "\"status\", \"wrap\"")
        let daemon = try await RunningDaemon.start(
            rules: rules + "[[deny]]\ngroup = \"\(Self.group)\"\noperations = [\"status\"]\n", wrapper: accounts.wrapper)
        let anybody = try Anybody(daemon)
        // In a user namespace it takes no more than setgroups([]) to come like this.
        #expect(try await anybody.ctl("status", uid: Self.alice).status == .exited(77))
        let records = try Self.records(of: Self.alice, daemon)
        #expect(records.count == 1)
        #expect(records.allSatisfy { ($0["reason"] as? String)?.hasPrefix("denied by custody.toml:") == true && $0["user"] as? String == "alice" })
        // Without the membership it is allowed, from the next reload on at the latest.
        try accounts.set(members: [], of: Self.group)
        _ = try await daemon.withClient { try await $0.reload() }
        let allowed = try await anybody.ctl("status", uid: Self.alice)
        #expect(allowed.status == .exited(0), "\(allowed.errors)")
    }

    @Test func aReloadJudgesWhoIsConnectedByGroupsThatNoRuleNamedBefore() async throws {
        let accounts = try await AccountFiles()
        let daemon = try await RunningDaemon.start(wrapper: accounts.wrapper)
        let denial = RunningDaemon.everything + "\n[[deny]]\ngroup = \"\(Self.group)\"\noperations = [\"wrap\"]\n"
        try await daemon.withClient { client in
            _ = try await client.wrap(SecretBytes([1]), key: "root")
            try daemon.setRules(denial)
            _ = try await client.reload()
            // Not a member: no request is denied meanwhile.
            _ = try await client.wrap(SecretBytes([1]), key: "root")
            try accounts.set(members: ["root"], of: Self.group)
            _ = try await client.reload()
            await expectError(.server(.denied)) { try await client.wrap(SecretBytes([1]), key: "root") }
            try accounts.set(members: [], of: Self.group)
            _ = try await client.reload()
            _ = try await client.wrap(SecretBytes([1]), key: "root")
            // By the kernel's word on the process that is connected, which has it as its own group.
            try daemon.setRules(RunningDaemon.everything + "\n[[deny]]\ngroup = \"\(getgid())\"\noperations = [\"wrap\"]\n")
            _ = try await client.reload()
            await expectError(.server(.denied)) { try await client.wrap(SecretBytes([1]), key: "root") }
        }
    }

    @Test func aGroupThatWasTakenAwayGivesNothingToAProcessThatStillHasIt() async throws {
        let accounts = try await AccountFiles()
        try accounts.set(members: ["alice"], of: Self.group)
        let daemon = try await RunningDaemon.start(
            rules: RunningDaemon.everything + Self.grant("group = \"\(Self.group)\""), wrapper: accounts.wrapper)
        let anybody = try Anybody(daemon)
        let groups = [Self.group...Self.group]
        #expect(try await anybody.ctl("status", uid: Self.alice, groups: groups).status == .exited(0))
        try accounts.set(members: [], of: Self.group)
        _ = try await daemon.withClient { try await $0.reload() }
        #expect(try await anybody.ctl("status", uid: Self.alice, groups: groups).status == .exited(77))
        // Whom the database never knew as a member has it from somewhere else, such as systemd.
        #expect(try await anybody.ctl("status", uid: 64_302, groups: groups).status == .exited(0))
    }

    // MARK: Subordinate uids

    @Test func aPersonIsOneAccountWithHoweverManyUIDs() async throws {
        let accounts = try await AccountFiles()
        func rules(_ more: String) -> String {
            RunningDaemon.everything + Self.grant("group = \"\(Self.group)\"", "\"wrap\", \"status\"", more: more)
                + "[[limit]]\ngroup = \"\(Self.group)\"\noperations = [\"wrap\"]\nper-day = 3\n"
        }
        let daemon = try await RunningDaemon.start(server: "connections-per-user = 3", rules: rules(""), wrapper: accounts.wrapper)
        let anybody = try Anybody(daemon)
        let groups = [Self.group...Self.group]
        #expect(try await anybody.ctl("status", uid: AccountFiles.subordinate + 5, groups: groups).status == .exited(77), "refused by default")
        try daemon.setRules(rules("subordinate = true"))
        _ = try await daemon.withClient { try await $0.reload() }
        let content = try daemon.token.directory.write("content", "secret", mode: 0o644)
        var codes: [TestSupport.ExitStatus] = []
        for uid in [Self.alice] + (0..<4).map({ AccountFiles.subordinate + $0 }) {
            codes.append(try await anybody.ctl("wrap", "--key", "root", "--in", content, uid: uid, groups: groups).status)
        }
        #expect(codes.count { $0 == .exited(0) } == 3, "\(codes)")
        let records = try Self.records(of: AccountFiles.subordinate, daemon)
        #expect(records.first?["owner"] as? String == "alice")
        #expect((records.first?["account"] as? NSNumber)?.uint32Value == Self.alice)
        #expect(try Self.records(of: Self.alice, daemon).first?["owner"] == nil)
        #expect(try await daemon.withClient { try await $0.status() }.limits.map(\.scope) == ["user alice"])
        // Connections, too.
        var held: [ChildProcess] = []
        for index in UInt32(10)..<13 { held.append(try await anybody.hold(uid: AccountFiles.subordinate + index, gid: Self.group)) }
        let refused = try await anybody.ctl("status", uid: AccountFiles.subordinate + 20, groups: groups)
        #expect(refused.errors.contains("connections-per-user"), "\(refused.errors)")
        withExtendedLifetime(held) {}
    }

    // MARK: Units

    /// Where control groups of version 2 are, and a test may make some.
    private static let hierarchy = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].first { path in
        access("\(path)/cgroup.procs", W_OK) == 0 && access("\(path)/cgroup.controllers", F_OK) == 0
    }

    /// - Parameter hidesProcesses: As systemd's ProtectProc=invisible does: the control group is then known by its number alone.
    @Test(
        .enabled(if: hierarchy != nil, "control groups of version 2 that this test may make"),
        arguments: [false, true])
    func aUnitIsProvedByTheControlGroup(_ hidesProcesses: Bool) async throws {
        let hierarchy = try #require(Self.hierarchy)
        let slice = "custodytest\(getpid())\(hidesProcesses ? "h" : "v").slice"
        func folder(_ path: String) -> String { "\(hierarchy)/\(slice)/\(path)" }
        let folders = [folder("billing.service/worker"), folder("billing.service"), folder("user@7.service/billing.service"), folder("user@7.service")]
        for path in folders { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
        defer { for path in folders + ["\(hierarchy)/\(slice)"] { rmdir(path) } }

        // A daemon with another uid than its clients, for which /proc shows nobody else.
        let hiding = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "mount -t proc -o hidepid=invisible,gid=64399 none /proc && exec setpriv --bounding-set=-sys_ptrace --inh-caps=-sys_ptrace \"$0\" \"$@\""]
        let daemon = try await RunningDaemon.start(
            rules: RunningDaemon.everything + Self.grant("user = \"\(Self.alice)\"", more: "unit = \"billing.service\"")
                + Self.grant("user = \"64302\"", more: "unit = \"\(slice)\""),
            wrapper: hidesProcesses ? hiding : [])
        let anybody = try Anybody(daemon)
        func status(_ uid: UInt32, in path: String) async throws -> TestSupport.ExitStatus {
            try await anybody.ctl("status", uid: uid, first: "echo $$ > \(path)/cgroup.procs").status
        }
        #expect(try await status(Self.alice, in: folder("billing.service")) == .exited(0))
        #expect(try await status(Self.alice, in: folder("billing.service/worker")) == .exited(0))
        #expect(try await status(Self.alice, in: folder("user@7.service/billing.service")) == .exited(77), "anybody can call a group of his own so")
        #expect(try await status(Self.alice, in: hierarchy) == .exited(77))
        #expect(try await status(64_303, in: folder("billing.service")) == .exited(77), "the user counts as well")
        #expect(try await status(64_302, in: folder("user@7.service")) == .exited(0), "by the slice")
        let units = try Self.records(of: Self.alice, daemon).map { $0["unit"] as? String }
        #expect(units == ["billing.service", "billing.service", "user@7.service", nil])
    }

    // MARK: An administrator's word

    @Test func anAdministratorCutsAUsersConnections() async throws {
        let accounts = try await AccountFiles()
        let rules = RunningDaemon.everything + Self.grant("user = \"\(Self.alice)\"")
        let daemon = try await RunningDaemon.start(rules: rules, wrapper: accounts.wrapper)
        let anybody = try Anybody(daemon)
        let (alices, subordinates, others) = (
            try await anybody.hold(uid: Self.alice), try await anybody.hold(uid: AccountFiles.subordinate + 9), try await anybody.hold(uid: 64_302))
        try await daemon.withClient { client in
            try await eventually("all connections") { try await client.status().door.connections == 4 }
            let reply = try await run("custodyctl", arguments: ["disconnect", "--user", "\(Self.alice)", "--json", "--config", daemon.configurationFile])
            #expect(reply.status == .exited(0), "\(reply.errors)")
            #expect(reply.output.contains("\"connections\" : 2"), "\(reply.output)")
            try await alices.line(containing: "cut")
            try await subordinates.line(containing: "cut")
            #expect(others.status == nil)
            // Not the one that it comes over.
            #expect(try await client.disconnect(uid: getuid()) == 0)
            _ = try await client.status()
        }
        let events = try daemon.events("disconnect")
        #expect(events.map { ($0["uid"] as? NSNumber)?.uint32Value } == [Self.alice, getuid()])
        // It takes a grant of its own.
        let denied = try await anybody.ctl("disconnect", "--user", "0", uid: Self.alice)
        #expect(denied.status == .exited(77))
        #expect(try daemon.events("disconnect").count == 2)
    }

    // MARK: User namespaces

    @Test func inAUserNamespaceUnknownUsersAreNobody() async throws {
        guard try await run("unshare", arguments: ["--user", "--map-root-user", "true"]).status == .exited(0) else {
            print("NOT SHOWN: a daemon in a user namespace; this machine does not let one be made")
            return
        }
        let wrapper = ["unshare", "--user", "--map-root-user"]
        let daemon = try await RunningDaemon.start(rules: RunningDaemon.everything, wrapper: wrapper)
        #expect(!daemon.logLines("runs in a user namespace").isEmpty)
        // Root of the machine is mapped; another user is one that the kernel can't name there.
        try await daemon.withClient { client in _ = try await client.status() }
        let refused = try await Anybody(daemon).ctl("status", uid: 64_302)
        #expect(refused.status != .exited(0))
        #expect(refused.errors.contains("the kernel does not say who you are"), "\(refused.errors)")
        #expect(try daemon.audit().allSatisfy { ($0["uid"] as? NSNumber)?.uint32Value == 0 })
        // A grant that would be everybody's.
        try daemon.setRules(RunningDaemon.everything + Self.grant("user = \"nobody\""))
        let reload = try await run("custodyctl", arguments: ["reload", "--socket", daemon.socket])
        #expect(reload.status != .exited(0) && reload.errors.contains("stands for every user whom the kernel can't name"), "\(reload.errors)")
        let check = try await run("custodyd", arguments: ["--check-config", "--config", daemon.configurationFile])
        #expect(check.status != .exited(0) && (check.errors + check.output).contains("stands for every user"), "\(check.errors)")
    }

    @Test func nobodyIsRefusedOutsideOfOneToo() async throws {
        let daemon = try await RunningDaemon.start()
        let refused = try await Anybody(daemon).ctl("status", uid: 65_534)
        #expect(refused.errors.contains("the kernel does not say who you are"), "\(refused.errors)")
        #expect(try await daemon.withClient { try await $0.status() }.door.connectionsRefused >= 1)
    }
}
