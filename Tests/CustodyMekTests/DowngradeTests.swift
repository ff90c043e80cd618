import AWSKMS
import CustodyClient
import Foundation
import MasterKey
import SecureMemory
import TestSupport
import Testing

/// Somebody may write to the tenants' database, and mostly have the KMS encrypt as well: what was enabled stays enabled, and
/// no row opens that is not the tenant's newest.
@Suite struct DowngradeTests {
    /// The row of an attacker's own master key, encrypted by the KMS alone, with a tag that fits and the highest generation.
    private func forged(_ service: TenantService) async throws -> TenantRecord {
        let row = try await service.record()
        let masterKey = LockedBytes(repeatElement(0x41, count: 32))
        let ciphertext = try await service.withKMS { try await $0.encrypt(masterKey, under: row.kmsKey, context: service.tenant.encryptionContext) }
        return TenantRecord(
            tenant: row.tenant, masterKeyID: Identifier(ofMasterKey: masterKey), layers: .kms, blob: ciphertext, kmsKey: row.kmsKey,
            kmsContext: row.kmsContext, generation: row.generation + 10, revision: row.revision, createdAt: row.createdAt, changedAt: row.changedAt
        ).authenticated(by: masterKey, ciphertext: ciphertext)
    }

    /// Puts a row in the place of a tenant's, as the database's own shell does.
    private func put(_ row: TenantRecord, _ service: TenantService) async throws {
        func literal(_ bytes: [UInt8]) -> String {
            let digits = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            return service.address.hasPrefix("sqlite:") ? "x'\(digits)'" : "'\\x\(digits)'"
        }
        var rootKey = ("NULL", "NULL")
        if case .rootKeyOverKMS(let name, let version) = row.layers { rootKey = ("'\(name)'", "\(version)") }
        try await HeldSession.run(
            service,
            """
            UPDATE custody_tenant SET master_key_id = \(literal(row.masterKeyID.bytes)), root_key = \(rootKey.0), root_key_version = \(rootKey.1),
            blob = \(literal(row.blob)), kms_key = '\(row.kmsKey)', generation = \(row.generation), tag = \(row.tag.map(literal) ?? "NULL")
            WHERE tenant = '\(service.tenant)'
            """)
    }

    /// What a service says that opens the tenant's master key, on a machine that has seen it or on one that has not.
    private func code(_ service: TenantService, _ options: [String] = [], _ other: [String: String] = [:]) async throws -> String? {
        let result = try await service.mek(["encrypt", "\(service.tenant)", "--json"] + options, input: "card", other)
        if result.status == .exited(0) { return nil }
        let document = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: [String: String]]
        return document?["error"]?["code"] ?? "\(UnexpectedResult(result))"
    }

    @Test(arguments: DatabaseKind.allCases) func whatWasEnabledStaysEnabled(_ kind: DatabaseKind) async throws {
        let service = try await TenantService(kind)
        try await service.enable()
        let real = try await service.record()
        try await put(forged(service), service)
        // custodyd is not asked, and need not be there.
        let stopped = ["CUSTODY_SOCKET": service.directory.file("nobody")]
        #expect(try await code(service, [], stopped) == "master-key-replaced")
        // A machine that has never seen the tenant has to demand what it wants to be sure of; without, it is deceived.
        let elsewhere = stopped.merging(service.elsewhere) { $1 }
        for (options, other) in [
            (["--require-root-key", "*"], [:]), (["--require-root-key", "root"], [:]), ([], ["CUSTODY_MEK_REQUIRE_ROOT_KEY": "root"]),
        ] as [([String], [String: String])] {
            #expect(try await code(service, options, elsewhere.merging(other) { $1 }) == "root-key-required", "\(options)")
        }
        #expect(try await code(service, ["--expect-mek", "\(real.masterKeyID)"], elsewhere) == "master-key-replaced")
        #expect(try await code(service, [], elsewhere) == nil, "the attack itself works")
        // An operator who goes on with it is stopped, too, before anything is done.
        #expect(try await service.refusal(service.enabling, exit: 1).code == "master-key-replaced")
        #expect(try await service.refusal(["rotate-kms", "\(service.tenant)"], exit: 1).code == "master-key-replaced")
        try await put(real, service)
        #expect(try await code(service, ["--require-root-key", "root", "--expect-mek", "\(real.masterKeyID)"]) == nil)
    }

    /// The same in a service's process, which remembers without being told to.
    @Test func aServiceRemembers() async throws {
        let service = try await TenantService(.sqlite)
        try await service.enable()
        let real = try await service.record()
        try await service.withDatabase { database in
            try await service.withKMS { kms in
                try await service.daemon.withClient { client in
                    let keys = MasterKeys(database: database, kms: kms, custody: client, cache: nil)
                    _ = try await keys.open(service.tenant)
                    try await put(forged(service), service)
                    let replaced = await #expect(throws: MasterKeyError.self) { try await keys.open(service.tenant) }
                    #expect(replaced?.code == .masterKeyReplaced)
                    let demanding = MasterKeys(database: database, kms: kms, custody: client, cache: nil, requiring: .any)
                    #expect(await #expect(throws: MasterKeyError.self) { try await demanding.open(service.tenant) }?.code == .rootKeyRequired)
                    // A service that knows the key by its data.
                    let fresh = MasterKeys(database: database, kms: kms, custody: client)
                    for _ in 0..<2 {
                        let expected = await #expect(throws: MasterKeyError.self) { try await fresh.open(service.tenant, expecting: real.masterKeyID) }
                        #expect(expected?.code == .masterKeyReplaced)
                    }
                    try await put(real, service)
                    #expect(try await fresh.open(service.tenant, expecting: real.masterKeyID).id == real.masterKeyID)
                    #expect(await #expect(throws: MasterKeyError.self) { try await fresh.open(service.tenant, expecting: Identifier()) }?.code == .masterKeyReplaced)
                }
            }
        }
    }

    /// The row from before the enablement, whose KMS key lives: the same master key, a tag that fits.
    @Test func theRowOfBeforeDoesNotComeBack() async throws {
        let service = try await TenantService(.sqlite)
        let before = try await service.record()
        try await service.ok(arguments: service.enabling + ["--keep-old-key"])
        try await put(before, service)
        #expect(try await code(service) == "root-key-required")
        #expect(try await code(service, ["--require-root-key", "*"], service.elsewhere) == "root-key-required")
        #expect(try await code(service, [], service.elsewhere) == nil, "the attack itself works")
    }

    @Test func oldGenerationsDoNotComeBack() async throws {
        let service = try await TenantService(.sqlite, daemon: RunningDaemon.start())
        try await service.enable()
        let second = try await service.record()
        try await service.ok("rotate-kms", "\(service.tenant)")
        let third = try await service.record()
        #expect(third.generation == second.generation + 1)
        try await put(second, service)
        #expect(try await code(service) == "row-outdated")
        // An old one that says that it is a new one does not open anywhere.
        var renamed = second
        renamed.generation = third.generation
        try await put(renamed, service)
        #expect(try await code(service) == "row-outdated")
        #expect(try await code(service, [], service.elsewhere) == "envelope-refused")
        (renamed.generation, renamed.tag) = (third.generation + 1, third.tag)
        try await put(renamed, service)
        #expect(try await code(service) == "envelope-refused")
        try await put(third, service)
        #expect(try await code(service) == nil)

        // Rewrapping changes the root key's version, and not the generation.
        let rotated = try await run("custodyctl", arguments: ["key", "rotate", "root", "--config", service.daemon.configurationFile])
        #expect(rotated.status == .exited(0), "\(UnexpectedResult(rotated))")
        try await eventually("the new version") { try await service.ok("rewrap", "\(service.tenant)").output.contains("1 rewrapped") }
        let rewrapped = try await service.record()
        #expect(rewrapped.generation == third.generation && rewrapped.tag == third.tag)
        #expect(try await code(service) == nil)
        try await put(third, service)
        #expect(try await code(service) == "row-outdated")
    }

    /// Who only writes to the database puts one tenant's row, all of it, under another's name.
    @Test(arguments: DatabaseKind.allCases, [false, true]) func anotherTenantsRowDoesNotOpen(_ kind: DatabaseKind, _ isEnabled: Bool) async throws {
        let service = try await TenantService(kind)
        let other = "other-of-\(service.tenant)"
        try await service.ok("create", other, "--kms-key", service.firstKey.rawValue)
        if isEnabled {
            try await service.ok("enable", other, "--root-key", "root", "--yes-i-understand", other)
            try await service.enable()
        }
        let columns = ["master_key_id", "root_key", "root_key_version", "blob", "kms_key", "kms_context", "generation", "tag"]
        let assignments = columns.map { "\($0) = (SELECT \($0) FROM custody_tenant WHERE tenant = '\(other)')" }.joined(separator: ", ")
        try await HeldSession.run(service, "UPDATE custody_tenant SET \(assignments) WHERE tenant = '\(service.tenant)'")
        let refused = isEnabled ? "envelope-refused" : "kms-ciphertext-refused"
        #expect(try await code(service, [], service.elsewhere) == refused)
        // Who has seen the tenant does not even ask.
        #expect(try await code(service) == (isEnabled ? "master-key-replaced" : refused))
    }

    @Test(arguments: [
        ("generation = generation + 1", "row-altered", "envelope-refused"), ("generation = 9223372036854775807", "row-altered", "envelope-refused"),
        ("generation = -1", "row-altered", "envelope-refused"), ("tag = NULL", "row-not-accepted", "row-not-accepted"),
        ("tag = x''", "row-altered", "row-altered"), ("tag = zeroblob(32)", "row-altered", "row-altered"),
        ("root_key = 'other', root_key_version = 1", "envelope-refused", "row-altered"), ("root_key_version = 7", "row-damaged", "row-altered"),
        ("root_key = NULL, root_key_version = NULL", "", "kms-ciphertext-refused"),
        ("master_key_id = zeroblob(16)", "row-damaged", "envelope-refused"),
    ])
    func nothingOfARowCanBeChanged(_ change: String, _ plain: String, _ enabled: String) async throws {
        let service = try await TenantService(.sqlite)
        let alter = "UPDATE custody_tenant SET \(change) WHERE tenant = '\(service.tenant)'"
        let before = try await service.record()
        try await HeldSession.run(service, alter)
        #expect(try await code(service, [], service.elsewhere) == (plain.isEmpty ? nil : plain))
        try await put(before, service)
        try await service.enable()
        try await HeldSession.run(service, alter)
        #expect(try await code(service, [], service.elsewhere) == enabled)
    }

    /// An attacker with a grant for a root key of his own makes a whole row under that.
    @Test func anotherRootKeyIsNotTheRequiredOne() async throws {
        let service = try await TenantService(.sqlite, daemon: RunningDaemon.start())
        let generated = try await run("custodyctl", arguments: ["key", "generate", "other", "--config", service.daemon.configurationFile])
        #expect(generated.status == .exited(0), "\(UnexpectedResult(generated))")
        try await service.enable()
        let masterKey = LockedBytes(repeatElement(0x41, count: 32))
        var row = try await forged(service)
        let (ciphertext, context) = (row.blob, row.rootKeyContext)
        var wrapped: WrappedBlob?
        try await eventually("the other root key") {
            wrapped = try? await service.daemon.withClient { try await $0.wrap(.init(ciphertext), key: "other", context: context) }
            return wrapped != nil
        }
        row.blob = try #require(wrapped).blob
        for name in ["other", "root"] {
            row.layers = .rootKeyOverKMS(name: name, version: 1)
            row = row.authenticated(by: masterKey, ciphertext: ciphertext)
            try await put(row, service)
            #expect(try await code(service) == "master-key-replaced")
            #expect(try await code(service, ["--require-root-key", "root"], service.elsewhere) == (name == "root" ? "row-altered" : "root-key-required"))
        }
    }

    // MARK: The journal

    /// By an entry that says that the row is replaced, somebody would have an operator's run delete any KMS key.
    @Test(arguments: ["finish", "supersede"]) func noKeyDiesByAForgedJournal(_ way: String) async throws {
        let service = try await TenantService(.sqlite)
        let run = try PausedRun(service, service.enabling)
        try await run.go(to: 9)
        try await run.kill()
        let victim = try await service.withKMS { try await $0.createKey(description: "of another service") }
        let alter = way == "finish" ? "old_key = '\(victim)'" : "old_key = '\(victim)', new_key = '\(victim)'"
        try await HeldSession.run(service, "UPDATE custody_operation SET \(alter)")
        #expect(try await service.refusal(service.enabling, exit: 1).code == "journal-altered")
        // Neither by taking the tag away.
        try await HeldSession.run(service, "UPDATE custody_operation SET tag = NULL")
        #expect(try await service.refusal(service.enabling, exit: 1).code == "journal-altered")
        #expect(try await service.unfinished()?.state == .unfinished)
        #expect(try await service.withKMS { try await $0.describe(victim.rawValue).state } == .enabled)
        #expect(service.proxy.requests("ScheduleKeyDeletion").isEmpty)
    }

    /// The new key of an operation that is given up is one that was made for it.
    @Test func noKeyDiesAsTheNewOne() async throws {
        let service = try await TenantService(.sqlite)
        let run = try PausedRun(service, service.enabling)
        try await run.go(to: 4)
        try await run.kill()
        let victim = try await service.withKMS { try await $0.createKey(description: "of another service") }
        try await HeldSession.run(
            service,
            "UPDATE custody_operation SET new_key = '\(victim)', old_key = '\(victim)'; UPDATE custody_tenant SET root_key = 'root', root_key_version = 1")
        // The row looks enabled: the operation is overtaken. It does not open, of course.
        _ = try await service.mek(service.enabling, service.elsewhere)
        #expect(try await service.unfinished() == nil)
        #expect(try await service.withKMS { try await $0.describe(victim.rawValue).state } == .enabled)
    }

    /// The key in use looks like one that nobody uses, if the row is believed unopened.
    @Test(arguments: [
        "new_key = NULL, tag = NULL, lost_creations = 1, lost_creation_at = 1",
        "state = 'unfinished', step = 4, tag = NULL, base_revision = 1",
    ])
    func theLiveKeyDoesNotDie(_ change: String) async throws {
        let service = try await TenantService(.sqlite)
        try await service.ok(arguments: service.enabling + ["--keep-old-key"])
        let live = try await service.record().kmsKey
        try await HeldSession.run(
            service, "UPDATE custody_tenant SET kms_key = '\(service.firstKey)'; UPDATE custody_operation SET \(change)")
        for arguments in [["settle", "\(service.tenant)"], service.enabling] {
            for machine in [[:], service.elsewhere] { _ = try await service.mek(arguments, machine) }
        }
        #expect(service.proxy.requests("ScheduleKeyDeletion").isEmpty)
        try await HeldSession.run(service, "UPDATE custody_tenant SET kms_key = '\(live)'")
        #expect(try await service.open() == service.masterKey)
        // Nor with the row as it was: the entry is not.
        _ = try await service.mek(["settle", "\(service.tenant)"])
        #expect(try await service.withKMS { try await $0.describe(live.rawValue).state } == .enabled)
    }

    /// A shared key lives as long as a row that may need it can't be believed.
    @Test(arguments: [true, false]) func aSharedKeyDoesNotDieByAnotherTenantsRow(_ isSeen: Bool) async throws {
        let service = try await TenantService(.sqlite)
        let other = "other-of-\(service.tenant)"
        try await service.ok("create", other, "--kms-key", service.firstKey.rawValue)
        let foreign = try await service.withKMS { try await $0.createKey(description: "of nobody") }
        try await HeldSession.run(service, "UPDATE custody_tenant SET kms_key = '\(foreign)' WHERE tenant = '\(other)'")
        let result = try await service.mek(service.enabling, isSeen ? [:] : service.elsewhere)
        #expect(result.status == .exited(0), "\(UnexpectedResult(result))")
        #expect((result.output + result.errors).contains("can't be believed"), "\(UnexpectedResult(result))")
        #expect(service.proxy.requests("ScheduleKeyDeletion").isEmpty)
        #expect(try await service.open() == service.masterKey)
    }

    /// An empty name must not stand for "none is required".
    @Test func anEmptyRequirementIsRefused() async throws {
        let service = try await TenantService(.sqlite)
        let result = try await service.mek(["encrypt", "\(service.tenant)"], input: "card", ["CUSTODY_MEK_REQUIRE_ROOT_KEY": ""])
        #expect(result.status == .exited(64) && result.errors.contains("CUSTODY_MEK_REQUIRE_ROOT_KEY"), "\(UnexpectedResult(result))")
    }

    /// No master key is encrypted under a key that somebody wrote into the journal.
    @Test func noForeignKeyIsTakenFromTheJournal() async throws {
        let service = try await TenantService(.sqlite)
        let run = try PausedRun(service, service.enabling)
        try await run.go(to: 4)
        try await run.kill()
        let foreign = try await service.withKMS { try await $0.createKey(description: "an attacker's") }
        try await HeldSession.run(service, "UPDATE custody_operation SET new_key = '\(foreign)'")
        #expect(try await service.refusal(service.enabling, exit: 1).code == "journal-altered")
        #expect(service.proxy.requests("Encrypt").isEmpty)
        #expect(try await service.open() == service.masterKey)
    }

    // MARK: Where it is remembered

    @Test func aFolderThatIsNamedMustBeUsable() async throws {
        let service = try await TenantService(.sqlite)
        let folder = service.directory.file("pins")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        #expect(chmod(folder, 0o777) == 0)
        let refusal = try await service.refusal(["open", "\(service.tenant)", "--check", "--pins", folder], exit: 78)
        #expect(refusal.code == "pins-unusable" && refusal.message.contains(folder), "\(refusal)")
        #expect(try await code(service, [], ["CUSTODY_MEK_PINS": folder]) == "pins-unusable")
        #expect(chmod(folder, 0o700) == 0)
        #expect(try await code(service, ["--pins", folder]) == nil)
        // Without one nothing is remembered, which is said.
        let without = try await service.mek(["open", "\(service.tenant)", "--check"], ["XDG_STATE_HOME": "", "HOME": ""])
        #expect(without.status == .exited(0) && without.errors.contains("nothing is remembered"), "\(UnexpectedResult(without))")
    }

    @Test func aTenantIsNotMadeAnew() async throws {
        let service = try await TenantService(.sqlite)
        try await HeldSession.run(service, "UPDATE custody_tenant SET tenant = 'gone' WHERE tenant = '\(service.tenant)'")
        #expect(try await code(service) == "tenant-not-found")
        try await service.ok("create", "new", "--kms-key", service.firstKey.rawValue)
        try await HeldSession.run(service, "DELETE FROM custody_tenant WHERE tenant = 'new'")
        #expect(try await service.refusal(["create", "new", "--kms-key", service.firstKey.rawValue], exit: 1).code == "master-key-replaced")
        #expect(try await service.refusal(["status", "new"], exit: 1).code == "tenant-not-found")
    }
}
