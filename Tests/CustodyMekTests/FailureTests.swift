import AWSKMS
import CustodyClient
import CustodyProtocol
import Foundation
import MasterKey
import SecureMemory
import Testing
import TestSupport

/// What can fail has an error of its own that says how things stand and what to do; a later run finishes the job.
@Suite struct FailureTests {
    /// Fails to enable in this way, and then enables.
    private func fails(
        _ service: TenantService, as code: String, exit: Int32, keyMade: Bool, _ location: SourceLocation = #_sourceLocation
    ) async throws {
        let refusal = try await service.refusal(service.enabling, exit: exit)
        #expect(refusal.code == code, "\(refusal)", sourceLocation: location)
        #expect(refusal.state?.contains("as it was and opens with the KMS alone") == true, "\(refusal)", sourceLocation: location)
        #expect(refusal.state?.contains("was made for it and is recorded") == keyMade, "\(refusal)", sourceLocation: location)
        #expect(refusal.advice?.contains("again goes on from here") == true, "\(refusal)", sourceLocation: location)
        try await service.expectSafe("failed", location)
    }

    private func thenWorks(_ service: TenantService, _ location: SourceLocation = #_sourceLocation) async throws {
        try await service.enable()
        try await service.expectEnabled("finished by a later run", location)
    }

    // MARK: KMS

    @Test(arguments: [("Decrypt", false), ("Encrypt", true)]) func kmsDown(_ operation: String, _ keyMade: Bool) async throws {
        let service = try await TenantService(.sqlite)
        service.proxy.on(operation, .dropRequest)
        try await fails(service, as: "kms-unavailable", exit: 69, keyMade: keyMade)
        service.proxy.reset()
        try await thenWorks(service)
    }

    @Test func kmsDownWhenTheKeyIsMade() async throws {
        let service = try await TenantService(.sqlite)
        service.proxy.on("CreateKey", .dropAnswer)
        let refusal = try await service.refusal(service.enabling, exit: 69)
        #expect(refusal.code == "kms-answer-lost")
        #expect(refusal.state?.contains("asked for a key and gave no answer") == true, "\(refusal)")
        service.proxy.reset()
        try await thenWorks(service)
        #expect(try await service.madeKeys().count == 1)
    }

    @Test func kmsDownWhenTheOldKeyIsRetired() async throws {
        let service = try await TenantService(.sqlite)
        service.proxy.on("ScheduleKeyDeletion", .dropRequest)
        let refusal = try await service.refusal(service.enabling, exit: 69)
        #expect(refusal.code == "kms-unavailable")
        #expect(refusal.state?.contains("is replaced and opens with the root key") == true, "\(refusal)")
        #expect(refusal.state?.contains("\(service.firstKey) is not known to be scheduled for deletion yet") == true, "\(refusal)")
        try await service.expectSafe("failed")
        service.proxy.reset()
        try await thenWorks(service)
    }

    @Test func kmsThrottles() async throws {
        let service = try await TenantService(.sqlite)
        service.proxy.on("Encrypt", .error("ThrottlingException", message: "Rate exceeded"))
        try await fails(service, as: "kms-throttled", exit: 69, keyMade: true)
        service.proxy.reset()
        // A KMS that throttles for a moment is not even noticed.
        service.proxy.on("Encrypt", .error("ThrottlingException", message: "Rate exceeded"), .first(2))
        try await thenWorks(service)
    }

    /// As with AWS, whose parts hear of a new key one after the other.
    @Test func newKeyIsKnownLate() async throws {
        let service = try await TenantService(.sqlite)
        service.proxy.on("Encrypt", .error("NotFoundException", message: "Key does not exist"), .first(2))
        service.proxy.on("Decrypt", .error("NotFoundException", message: "Key does not exist"), .nth(2))
        try await thenWorks(service)
        #expect(service.proxy.requests.count { $0.operation == "Encrypt" } == 3)
    }

    @Test(arguments: ["Decrypt", "CreateKey", "Encrypt"]) func kmsDenies(_ operation: String) async throws {
        let service = try await TenantService(.sqlite)
        service.proxy.on(operation, .error("AccessDeniedException", message: "not authorized to perform this"))
        try await fails(service, as: "kms-denied", exit: 77, keyMade: operation == "Encrypt")
        service.proxy.reset()
        try await thenWorks(service)
    }

    @Test func firstKeyIsScheduledForDeletionAlready() async throws {
        let service = try await TenantService(.sqlite)
        service.proxy.on("Decrypt", .error("KMSInvalidStateException", message: "\(service.firstKey) is pending deletion."))
        try await fails(service, as: "kms-key-pending-deletion", exit: 1, keyMade: false)
        service.proxy.reset()
        try await thenWorks(service)
    }

    @Test func noCredentials() async throws {
        let service = try await TenantService(.sqlite)
        let result = try await run(
            "custody-mek", arguments: service.enabling + ["--json"],
            environment: service.environment.merging([
                "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_CONFIG_FILE": "/nonexistent",
            ]) { _, own in own })
        #expect(result.status == .exited(78), "\(UnexpectedResult(result))")
        #expect(result.output.contains("kms-credentials"))
        try await thenWorks(service)
    }

    // MARK: custodyd

    @Test func daemonIsDown() async throws {
        let service = try await TenantService(.sqlite)
        let arguments = service.enabling + ["--socket", service.directory.file("nobody"), "--deadline-ms", "200"]
        let refusal = try await service.refusal(arguments, exit: 69)
        #expect(refusal.code == "daemon-unavailable", "\(refusal)")
        #expect(refusal.state?.contains("as it was") == true)
        try await service.expectSafe("failed")
        try await thenWorks(service)
    }

    @Test func rootKeyIsDisabledThenGone() async throws {
        let service = try await TenantService(.sqlite, daemon: RunningDaemon.start())
        try await service.daemon.setRootKey(usable: false)
        try await eventually("the root key's end in the daemon") {
            let status = try await service.daemon.withClient { try await $0.status() }
            return status.keys.first?.versions.first?.state == .disabled
        }
        try await fails(service, as: "root-key-not-usable", exit: 1, keyMade: true)
        try await service.daemon.setRootKey(usable: true)
        try await eventually("the root key's return") {
            let status = try await service.daemon.withClient { try await $0.status() }
            return status.keys.first?.versions.first?.state == .active
        }
        try await thenWorks(service)

        // What it was all made for.
        try await service.daemon.setRootKey(usable: false)
        try await eventually("the kill switch") { try await service.mek("open", "\(service.tenant)", "--check").status != .exited(0) }
        #expect(try await service.refusal(["open", "\(service.tenant)", "--check"], exit: 1).code == "root-key-not-usable")
        try await service.daemon.setRootKey(usable: true)
        try await eventually("the key's return") { try await service.mek("open", "\(service.tenant)", "--check").status == .exited(0) }
        try await service.daemon.destroyRootKey()
        try await eventually("the key's end") { try await service.mek("open", "\(service.tenant)", "--check").status != .exited(0) }
        let gone = try await service.refusal(["open", "\(service.tenant)", "--check"], exit: 1)
        #expect(gone.code == "root-key-not-found")
        #expect(gone.advice?.contains("nothing opens what it wrapped, ever") == true)
    }

    @Test func wrongRootKeyName() async throws {
        let service = try await TenantService(.sqlite)
        let name = "\(service.tenant)"
        let refusal = try await service.refusal(["enable", name, "--root-key", "rooot", "--yes-i-understand", name], exit: 1)
        #expect(refusal.code == "root-key-not-found")
        try await service.expectSafe("failed")
        // The name is put right, which is another choice than the one that was journalled.
        #expect(try await service.refusal(service.enabling, exit: 64).code == "choice-changed")
        try await service.ok(arguments: service.enabling + ["--change-choices"])
        try await service.expectEnabled("finished under the right name")
    }

    // MARK: Database

    @Test(arguments: DatabaseKind.allCases) func rowIsLocked(_ kind: DatabaseKind) async throws {
        let service = try await TenantService(kind)
        let run = try PausedRun(service, service.enabling + ["--json"])
        // With --json there are no lines of steps to wait for: the journal tells.
        for step in 1...8 {
            try await eventually("step \(step)") { try await service.unfinished()?.step?.rawValue == step }
            if step < 8 { try run.goOn() }
        }
        let other = try HeldSession(service)
        switch kind {
        case .sqlite: try await other.run("BEGIN IMMEDIATE")
        case .postgresql: try await other.run("BEGIN; SELECT 1 FROM custody_tenant WHERE tenant = '\(service.tenant)' FOR UPDATE")
        }
        try run.goOn()
        let result = try await run.process.end()
        #expect(result.status == .exited(75), "\(UnexpectedResult(result))")
        #expect(result.output.contains("database-busy"))
        try await other.run("ROLLBACK")
        try await service.expectSafe("locked")
        try await thenWorks(service)
    }

    @Test(arguments: DatabaseKind.allCases) func rowChangesMeanwhile(_ kind: DatabaseKind) async throws {
        let service = try await TenantService(kind)
        let run = try PausedRun(service, service.enabling)
        try await run.go(to: 8)
        try await HeldSession.run(service, "UPDATE custody_tenant SET revision = revision + 1 WHERE tenant = '\(service.tenant)'")
        try run.goOn()
        let result = try await run.process.end()
        #expect(result.status == .exited(1))
        #expect(result.errors.contains("something else has changed tenant \(service.tenant) meanwhile, this run has not"), "\(result.errors)")
        try await service.expectSafe("changed meanwhile")
        try await thenWorks(service)
        #expect(service.proxy.requests.count { $0.operation == "CreateKey" } == 1)
    }

    @Test(arguments: DatabaseKind.allCases) func rowIsMissing(_ kind: DatabaseKind) async throws {
        let service = try await TenantService(kind)
        let refusal = try await service.refusal(["enable", "nobody", "--root-key", "root", "--yes-i-understand", "nobody"], exit: 1)
        #expect(refusal.code == "tenant-not-found")
        #expect(service.proxy.requests.isEmpty)

        let run = try PausedRun(service, service.enabling)
        try await run.go(to: 8)
        let saved = try await service.record()
        // The journal's entry keeps the row from being deleted; whoever really wants to, gets round that.
        let force = kind == .postgresql ? "SET session_replication_role = replica; " : ""
        try await HeldSession.run(service, "\(force)DELETE FROM custody_tenant WHERE tenant = '\(service.tenant)'")
        try run.goOn()
        let result = try await run.process.end()
        #expect(result.status == .exited(1))
        #expect(result.errors.contains("no row for tenant") || result.errors.contains("row of tenant"), "\(result.errors)")
        // Restored from a backup: the job can be finished.
        try await service.withDatabase { try await $0.insert(saved) }
        try await thenWorks(service)
    }

    @Test func databaseIsNotThere() async throws {
        let service = try await TenantService(.sqlite)
        for (address, code, exit) in [
            ("sqlite:/nonexistent/tenants.db", "database-unavailable", 69), ("mysql://x/y", "database-address", 78), ("sqlite:", "database-address", 78),
            ("postgresql:///x?host=/nonexistent", "database-unavailable", 69), ("postgresql://u:secret-word@h/x", "database-address", 78),
        ] as [(String, String, Int32)] {
            let refusal = try await service.refusal(["status", "--database", address], exit: exit)
            #expect(refusal.code == code, "\(address): \(refusal)")
            #expect(!"\(refusal)".contains("secret-word"))
        }
    }

    /// Somebody else has enabled the tenant while this run was stopped: its key goes.
    @Test func supersededByAnother() async throws {
        let service = try await TenantService(.sqlite)
        let run = try PausedRun(service, service.enabling)
        try await run.go(to: 4)
        try await run.kill()
        let unused = try await service.unfinished()?.newKey
        // As after a restore: the row is another's, the journal is ours.
        var record = try await service.record()
        let other = try await service.withKMS { try await $0.createKey(description: "another's") }
        let blob = try await service.withKMS { try await $0.encrypt(.init(service.masterKey), under: other, context: service.tenant.encryptionContext) }
        (record.kmsKey, record.generation) = (other, record.generation + 1)
        let context = record.rootKeyContext
        let wrapped = try await service.daemon.withClient { try await $0.wrap(.init(blob), key: "root", context: context) }
        (record.layers, record.blob) = (.rootKeyOverKMS(name: "root", version: 1), wrapped.blob)
        let changed = record.authenticated(by: LockedBytes(service.masterKey), ciphertext: blob)
        try await service.withDatabase { try await $0.replace(changed, recording: nil) }

        let again = try await service.enable()
        #expect(again.output.contains("something else has changed the row"))
        #expect(try await service.journal().first?.operation.state == .superseded)
        let state = try await service.withKMS { try await $0.describe(unused?.rawValue ?? "").state }
        #expect(state == .pendingDeletion)
        #expect(try await service.open() == service.masterKey)
    }
}
