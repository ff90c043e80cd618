import AWSKMS
import CustodyClient
import Foundation
import MasterKey
import SecureMemory
import Testing
import TestSupport

@Suite struct RotationTests {
    private func rotateRootKey(_ service: TenantService) async throws {
        let result = try await run("custodyctl", arguments: ["key", "rotate", "root", "--config", service.daemon.configurationFile])
        guard result.status == .exited(0) else { throw UnexpectedResult(result) }
        try await eventually("the new version in the daemon") {
            try await service.daemon.withClient { try await $0.wrap(.init([1]), key: "root", context: ["tenant": "x"]).keyVersion } == 2
        }
    }

    @Test(arguments: DatabaseKind.allCases) func rewrapAsksNoKMS(_ kind: DatabaseKind) async throws {
        let service = try await TenantService(kind, daemon: RunningDaemon.start())
        try await service.enable()
        let before = try await service.record()
        let same = try await service.ok("rewrap", "\(service.tenant)")
        #expect(same.output.contains("0 rewrapped, 1 under the newest version already"))
        #expect(try await service.record().blob == before.blob)

        try await rotateRootKey(service)
        let calls = service.proxy.requests.count
        let sealed = try await service.ok("encrypt", "\(service.tenant)", input: "4111 1111")
        let callsToSeal = service.proxy.requests.count - calls
        let rewrapped = try await service.ok("rewrap", "\(service.tenant)")
        #expect(rewrapped.output.contains("1 rewrapped"))
        #expect(service.proxy.requests.count == calls + callsToSeal)
        let after = try await service.record()
        #expect(after.layers == .rootKeyOverKMS(name: "root", version: 2))
        #expect(after.kmsKey == before.kmsKey && after.masterKeyID == before.masterKeyID)
        #expect(try await service.open() == service.masterKey)
        #expect(try await service.ok("decrypt", "\(service.tenant)", input: sealed.output).output == "4111 1111")
    }

    @Test(arguments: DatabaseKind.allCases) func rewrapOfAllGoesPastBadRows(_ kind: DatabaseKind) async throws {
        let service = try await TenantService(kind, daemon: RunningDaemon.start())
        let names = (1...5).map { "t\($0)-of-\(service.tenant)" }
        for name in names {
            try await service.ok("create", name, "--kms-key", service.firstKey.rawValue)
            if name != names[4] { try await service.ok("enable", name, "--root-key", "root", "--yes-i-understand", name) }
        }
        // One row's envelope belongs to another tenant.
        try await HeldSession.run(
            service, "UPDATE custody_tenant SET blob = (SELECT blob FROM custody_tenant WHERE tenant = '\(names[0])') WHERE tenant = '\(names[1])'")
        try await rotateRootKey(service)
        let result = try await service.mek("rewrap", "--all", "--json")
        #expect(result.status == .exited(1))
        let document = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
        #expect(document?["rewrapped"] as? [String] == [names[0], names[2], names[3]])
        #expect(document?["not_enabled"] as? [String] == [service.tenant.description, names[4]].sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) })
        let failed = document?["failed"] as? [[String: String]]
        #expect(failed?.map { $0["code"] } == ["envelope-refused"])
        for name in [names[0], names[2], names[3], names[4]] { try await service.ok("open", name, "--check") }
    }

    @Test(arguments: DatabaseKind.allCases) func rotateToTheSameKMSKey(_ kind: DatabaseKind) async throws {
        let service = try await TenantService(kind)
        #expect(try await service.refusal(["rotate-kms", "\(service.tenant)"], exit: 1).code == "not-enabled")
        try await service.enable()
        let before = try await service.record()
        try await service.ok("rotate-kms", "\(service.tenant)")
        let after = try await service.record()
        #expect(after.kmsKey == before.kmsKey && after.blob != before.blob && after.revision == before.revision + 1)
        try await service.expectEnabled("rotated")
        #expect(try await service.madeKeys().count == 1)
    }

    @Test(arguments: DatabaseKind.allCases) func rotateToANewKMSKey(_ kind: DatabaseKind) async throws {
        let service = try await TenantService(kind)
        try await service.enable()
        let before = try await service.record()
        // Killed in the middle, and finished.
        let run = try PausedRun(service, ["rotate-kms", "\(service.tenant)", "--new-key"])
        try await run.go(to: 4)
        try await run.kill()
        try await service.expectSafe("killed")
        #expect(try await service.refusal(["rotate-kms", "\(service.tenant)"], exit: 1).code == "operation-unfinished")
        try await service.ok("rotate-kms", "\(service.tenant)", "--new-key")
        let after = try await service.record()
        #expect(after.kmsKey != before.kmsKey)
        #expect(try await service.withKMS { try await $0.describe(before.kmsKey.rawValue).state } == .pendingDeletion)
        try await service.expectEnabled("rotated")
    }
}
