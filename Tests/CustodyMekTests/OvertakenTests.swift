import AWSKMS
import CustodyClient
import Foundation
import MasterKey
import SecureMemory
import TestSupport
import Testing

/// Runs that something else has overtaken: another run after the lock was lost, a restored backup, a KMS key that was
/// deleted by hand.
@Suite struct OvertakenTests {
    /// The lock is lost (as when a database server restarts) while the first run waits for its key; a second run does the
    /// whole job. The first must not write over it, and nothing that follows may delete the key in use.
    @Test(arguments: DatabaseKind.allCases) func runWithoutItsLock(_ kind: DatabaseKind) async throws {
        let service = try await TenantService(kind)
        let first = try PausedRun(service, service.enabling)
        try await first.go(to: 3)
        try await loseLock(service)
        try await service.enable()
        let record = try await service.record()
        try first.goOn()
        let result = try await first.process.end()
        #expect(result.status == .exited(1), "\(UnexpectedResult(result))")
        #expect(result.errors.contains("another run has gone on with it"), "\(result.errors)")
        // No key of its own was made, since the journal did not take that it would ask for one.
        #expect(service.proxy.answers("CreateKey").count == 1)
        for _ in 0..<2 { try await service.enable() }
        try await service.ok("settle", "\(service.tenant)")
        #expect(try await service.record() == record)
        try await service.expectEnabled("overtaken")
    }

    /// The same while the first run waits for the KMS's answer: its key is nobody's, and is found and deleted.
    @Test(arguments: DatabaseKind.allCases) func keyOfARunWithoutItsLock(_ kind: DatabaseKind) async throws {
        let service = try await TenantService(kind)
        let hold = service.proxy.on("CreateKey", .holdAnswer, .first(1))
        let first = try ChildProcess("custody-mek", arguments: service.enabling, environment: service.environment)
        try await hold.reached()
        try await loseLock(service)
        // The second run finds the first one's key by its description, and uses it.
        try await service.enable()
        hold.release()
        let result = try await first.end()
        #expect(result.status != .exited(0), "\(UnexpectedResult(result))")
        try await service.enable()
        try await service.ok("settle", "\(service.tenant)")
        try await service.expectEnabled("overtaken")
    }

    private func loseLock(_ service: TenantService) async throws {
        if service.address.hasPrefix("sqlite:") {
            // Whoever opens the lock's file anew has another lock.
            try FileManager.default.removeItem(atPath: service.directory.file("tenants.db.lock"))
        } else {
            try await HeldSession.run(
                service,
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
        }
    }

    /// Killed before step 10, then the row alone is restored from an old backup: the next run begins anew.
    @Test func rowRestoredAfterStepNine() async throws {
        let service = try await TenantService(.sqlite)
        let backup = try await service.record()
        let run = try PausedRun(service, service.enabling)
        try await run.go(to: 9)
        try await run.kill()
        let replaced = try await service.record()
        var restored = backup
        restored.revision = replaced.revision
        let row = restored
        try await service.withDatabase { try await $0.replace(row, recording: nil) }
        #expect(try await service.open() == service.masterKey)

        // It was seen enabled: that an older row is meant has to be said.
        #expect(try await service.refusal(service.enabling, exit: 1).code == "root-key-required")
        // Nothing was done for it: the key of the envelope that was taken away lives.
        #expect(try await service.withKMS { try await $0.describe(replaced.kmsKey.rawValue).state } == .enabled)
        #expect(try await service.unfinished()?.step == .replaced)
        let accepted = try await service.ok("accept", "\(service.tenant)", "--yes-i-understand", "\(service.tenant)")
        #expect(accepted.errors.contains("WARNING: ") && accepted.errors.contains("was enabled"), "\(accepted.errors)")
        let again = try await service.enable()
        #expect(again.output.contains("which is given up"))
        try await service.expectEnabled("enabled anew")
        let record = try await service.record()
        #expect(record.kmsKey != replaced.kmsKey)
        #expect(try await service.journal().map(\.operation.state) == [.finished, .superseded])
    }

    /// The key that a killed run had made was deleted by hand before the next run: another one is made.
    @Test func newKeyWasDeleted() async throws {
        let service = try await TenantService(.sqlite)
        let run = try PausedRun(service, service.enabling)
        try await run.go(to: 4)
        try await run.kill()
        let deleted = try #require(try await service.unfinished()?.newKey)
        try await service.withKMS { try await $0.scheduleDeletion(of: deleted, afterDays: 7) }
        try await service.enable()
        #expect(try await service.record().kmsKey != deleted)
        try await service.expectEnabled("with another key")
    }

    /// A KMS that knows none of our keys must not pass for one in which the old key is deleted.
    @Test func anotherKMSDeletesNothing() async throws {
        let service = try await TenantService(.sqlite)
        let run = try PausedRun(service, service.enabling)
        try await run.go(to: 9)
        try await run.kill()
        let other = try await KMSServer()
        let result = try await TestSupport.run(
            "custody-mek", arguments: service.enabling, environment: service.environment.merging(["AWS_ENDPOINT_URL_KMS": other.endpoint]) { _, own in own })
        #expect(result.status == .exited(1))
        #expect(result.errors.contains("not known to be scheduled"), "\(result.errors)")
        #expect(try await service.unfinished()?.step == .replaced)
        try await service.enable()
        try await service.expectEnabled("finished at the right one")
    }

    @Test func oldKeyIsKeptIfAskedFor() async throws {
        let service = try await TenantService(.sqlite)
        service.proxy.on("ScheduleKeyDeletion", .error("AccessDeniedException"))
        #expect(try await service.refusal(service.enabling, exit: 77).code == "kms-denied")
        // Whoever may not delete keys still gets to an end.
        #expect(try await service.refusal(service.enabling + ["--keep-old-key"], exit: 64).code == "choice-changed")
        let kept = try await service.ok(arguments: service.enabling + ["--keep-old-key", "--change-choices"])
        #expect(kept.output.contains("was left as it is, as asked for"))
        #expect(try await service.unfinished() == nil)
        #expect(try await service.withKMS { try await $0.describe(service.firstKey.rawValue).state } == .enabled)
        #expect(try await service.open() == service.masterKey)
    }

    /// An envelope of another master key, which the KMS opens for the tenant all the same.
    @Test func exchangedEnvelopesAreNoticed() async throws {
        let service = try await TenantService(.sqlite)
        let ciphertext = try await service.withKMS { kms in
            try await kms.encrypt(LockedBytes.random(count: 32), under: service.firstKey, context: service.tenant.encryptionContext)
        }
        let digits = ciphertext.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        try await HeldSession.run(service, "UPDATE custody_tenant SET blob = x'\(digits)' WHERE tenant = '\(service.tenant)'")
        #expect(try await service.refusal(["open", "\(service.tenant)", "--check"], exit: 1).code == "row-damaged")
        #expect(try await service.refusal(service.enabling, exit: 1).code == "row-damaged")
    }

    /// A service that read the row before the envelope was changed, and asks the KMS afterwards.
    @Test func openingThatCrossesAChange() async throws {
        let service = try await TenantService(.sqlite, server: try await KMSServer.honouringStates())
        let hold = service.proxy.on("Decrypt", .holdRequest, .first(1))
        async let opening = service.mek("open", "\(service.tenant)", "--check")
        try await hold.reached()
        try await service.enable()
        hold.release()
        #expect(try await opening.status == .exited(0))
    }
}
