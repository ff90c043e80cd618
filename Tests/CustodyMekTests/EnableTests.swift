import AWSKMS
import CustodyClient
import Foundation
import MasterKey
import SecureMemory
import Testing
import TestSupport

@Suite struct EnableTests {
    @Test(arguments: DatabaseKind.allCases) func tenStepsFromTheKMSAloneToBoth(_ kind: DatabaseKind) async throws {
        let service = try await TenantService(kind)
        let before = try await service.record()
        #expect(!before.isEnabled && before.blob == service.firstCiphertext)

        let run = try await service.enable()
        for step in 1...10 { #expect(run.output.contains("step \(step) of 10: "), "step \(step)") }
        // The two warnings are stated although they were confirmed beforehand.
        #expect(run.errors.contains("unreadable, for ever") && run.errors.contains("no way back"))

        try await service.expectEnabled("enabled")
        let after = try await service.record()
        #expect(after.layers == .rootKeyOverKMS(name: "root", version: 1))
        #expect(after.masterKeyID == before.masterKeyID)
        #expect(after.revision == before.revision + 1 && after.generation == before.generation + 1)
        // Neither layer alone: the row is Custody's envelope, and what the daemon opens is the second key's ciphertext.
        let inner = try await service.daemon.withClient { try await $0.unwrap(after.blob, context: after.rootKeyContext).plaintext.exposed() }
        #expect(inner != service.masterKey && inner != service.firstCiphertext)
        let opened = try await service.withKMS { try await $0.decrypt(inner, under: after.kmsKey, context: service.tenant.encryptionContext) }
        #expect(opened.exposed() == service.masterKey)

        let journal = try await service.journal()
        #expect(journal.count == 1)
        #expect(journal.first?.steps.map(\.step) == Step.allCases)
        #expect(journal.first?.operation.state == .finished)
    }

    @Test(arguments: DatabaseKind.allCases) func everyCallCarriesTheContext(_ kind: DatabaseKind) async throws {
        let service = try await TenantService(kind)
        try await service.enable()
        let calls = service.proxy.requests.filter { ["Encrypt", "Decrypt"].contains($0.operation) }
        #expect(calls.map(\.operation) == ["Decrypt", "Encrypt", "Decrypt"])
        for call in calls { #expect(String(decoding: call.body, as: UTF8.self).contains("\"tenant\":\"\(service.tenant)\"")) }
        let audit = try service.daemon.audit().filter { "\($0["context"] ?? "")".contains("\(service.tenant)") }
        #expect(audit.map { $0["operation"] as? String } == ["wrap", "unwrap"])
        // Which master key, and which of its envelopes.
        let record = try await service.record()
        for line in audit { #expect(line["context"] as? [String: String] == record.rootKeyContext) }
        #expect(record.rootKeyContext == ["tenant": "\(service.tenant)", "mek": "\(record.masterKeyID)", "generation": "2"])
    }

    @Test func enabledTwiceIsNothing() async throws {
        let service = try await TenantService(.sqlite)
        try await service.enable()
        let record = try await service.record()
        let again = try await service.enable()
        #expect(again.output.contains("nothing to do"))
        #expect(try await service.record().blob == record.blob)
        #expect(try await service.madeKeys().count == 1)
    }

    @Test(arguments: DatabaseKind.allCases) func twoAtOnce(_ kind: DatabaseKind) async throws {
        let service = try await TenantService(kind)
        let winner = try PausedRun(service, service.enabling)
        try await winner.go(to: 5)
        let refusal = try await service.refusal(service.enabling, exit: 75)
        #expect(refusal.code == "operation-under-way")
        #expect(refusal.message.contains("\(service.tenant)"))
        for step in 6...10 {
            try winner.goOn()
            try await winner.process.line(containing: "step \(step) of 10")
        }
        try winner.goOn()
        #expect(try await winner.process.end().status == .exited(0))
        try await service.expectEnabled("the winner's")
        #expect(service.proxy.requests.count { $0.operation == "CreateKey" } == 1)
    }

    @Test(arguments: DatabaseKind.allCases) func manyAtOnce(_ kind: DatabaseKind) async throws {
        let service = try await TenantService(kind)
        let results = try await withThrowingTaskGroup(of: ProcessResult.self) { group in
            for _ in 0..<4 { group.addTask { try await service.mek(service.enabling) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        for result in results {
            let isRight = result.status == .exited(75) || result.status == .exited(0)
            #expect(isRight, "\(UnexpectedResult(result))")
        }
        #expect(results.contains { $0.status == .exited(0) && $0.output.contains("step 10 of 10") })
        try await service.expectEnabled("one of four")
        #expect(service.proxy.requests.count { $0.operation == "CreateKey" } == 1)
    }

    /// Tenants that share their first KMS key: the last to leave it has it deleted.
    @Test(arguments: DatabaseKind.allCases) func sharedFirstKey(_ kind: DatabaseKind) async throws {
        let service = try await TenantService(kind)
        let other = "other-of-\(service.tenant)"
        try await service.ok("create", other, "--kms-key", service.firstKey.rawValue)
        let run = try await service.enable()
        #expect(run.output.contains("still encrypts other tenants (\(other))"))
        #expect(try await service.withKMS { try await $0.describe(service.firstKey.rawValue).state } == .enabled)
        try await service.ok("open", other, "--check")
        try await service.ok("enable", other, "--root-key", "root", "--yes-i-understand", other)
        #expect(try await service.withKMS { try await $0.describe(service.firstKey.rawValue).state } == .pendingDeletion)
        #expect(try await service.open() == service.masterKey)
        try await service.ok("open", other, "--check")
    }

    @Test func deletionDaysAreTheOperators() async throws {
        let service = try await TenantService(.sqlite)
        try await service.ok(arguments: service.enabling + ["--deletion-days", "7"])
        let request = service.proxy.requests.first { $0.operation == "ScheduleKeyDeletion" }
        #expect(request.map { String(decoding: $0.body, as: UTF8.self).contains("\"PendingWindowInDays\":7") } == true)
    }

    // MARK: Confirmation

    @Test func nothingHappensUnconfirmed() async throws {
        let service = try await TenantService(.sqlite)
        let unasked = try await service.mek("enable", "\(service.tenant)", "--root-key", "root")
        #expect(unasked.status == .exited(64))
        #expect(unasked.errors.contains("--yes-i-understand \(service.tenant)"))
        let wrong = try await service.mek("enable", "\(service.tenant)", "--root-key", "root", "--yes-i-understand", "globex")
        #expect(wrong.status == .exited(64))
        #expect(try await !service.record().isEnabled)
        #expect(try await service.journal().isEmpty)
        #expect(service.proxy.requests.isEmpty)
    }

    @Test func stopsWhereTheOperatorStops() async throws {
        let service = try await TenantService(.sqlite)
        let result = try await service.mek(service.enabling + ["--step-by-step"], input: "\n\n\n")
        #expect(result.status == .exited(1))
        #expect(result.errors.contains("stopped after step 4"))
        try await service.expectSafe("stopped")
        try await service.enable()
        try await service.expectEnabled("gone on")
    }
}
