import AWSKMS
import CustodyClient
import Foundation
import MasterKey
import SecureMemory
import TestSupport
import Testing

/// Rows of a release that did not authenticate them, and rows that were restored: an operator vouches for them, and nothing
/// else makes them pass.
@Suite struct AcceptTests {
    /// Makes a row what an older release would have written: no tag, no generation, the envelope bound to the tenant alone.
    private func makeOld(_ service: TenantService, _ tenant: String? = nil, kmsContext: [String: String]? = nil) async throws -> TenantRecord {
        let name = try tenant.map { try TenantName($0) } ?? service.tenant
        var row = try await service.withDatabase { try await $0.existingRecord(of: name) }
        let context = row.rootKeyContext
        var ciphertext = row.blob
        if row.isEnabled {
            let blob = row.blob
            ciphertext = try await service.daemon.withClient { try await $0.unwrap(blob, context: context).plaintext.exposed() }
        }
        if let kmsContext {
            let (inner, key) = (ciphertext, row.kmsKey)
            ciphertext = try await service.withKMS { kms in
                try await kms.encrypt(try await kms.decrypt(inner, under: key, context: name.encryptionContext), under: key, context: kmsContext)
            }
            row.kmsContext = kmsContext
        }
        row.blob = ciphertext
        if row.isEnabled {
            let inner = ciphertext
            row.blob = try await service.daemon.withClient { try await $0.wrap(.init(inner), key: "root", context: name.encryptionContext).blob }
        }
        (row.generation, row.tag) = (0, nil)
        let old = row
        try await service.withDatabase { try await $0.replace(old, recording: nil) }
        return try await service.withDatabase { try await $0.existingRecord(of: name) }
    }

    private func accept(_ service: TenantService, _ arguments: String...) async throws -> ProcessResult {
        try await service.mek(["accept"] + arguments, service.elsewhere)
    }

    @Test(arguments: DatabaseKind.allCases) func aDatabaseOfBeforeIsTakenOver(_ kind: DatabaseKind) async throws {
        let service = try await TenantService(kind)
        let (plain, imported) = ("plain-\(service.tenant)", "imported-\(service.tenant)")
        for name in [plain, imported] { try await service.ok("create", name, "--kms-key", service.firstKey.rawValue) }
        let sealed = try await service.ok("encrypt", "\(service.tenant)", input: "card")
        try await service.enable()
        let before = try await makeOld(service)
        _ = try await makeOld(service, plain)
        _ = try await makeOld(service, imported, kmsContext: ["app": "billing"])

        // Nothing opens, is rotated or enabled before, and nothing that runs by itself changes that.
        try await service.ok("migrate")
        for arguments in [
            ["open", "\(service.tenant)", "--check"], ["open", plain, "--check"], ["rotate-kms", "\(service.tenant)"], ["rewrap", "\(service.tenant)"],
            ["enable", plain, "--root-key", "root", "--yes-i-understand", plain],
        ] { #expect(try await service.refusal(arguments, exit: 1).code == "row-not-accepted", "\(arguments)") }
        #expect(try await service.ok("status", "\(service.tenant)").output.contains("not authenticated"))

        let all = try await accept(service, "--all", "--yes-i-understand", "all")
        #expect(all.status == .exited(1) && all.output.contains("2 accepted, 1 failed"), "\(UnexpectedResult(all))")
        #expect(all.errors.contains("MEK \(before.masterKeyID)") && all.errors.contains("--kms-context app=billing"), "\(all.errors)")
        let after = try await service.record()
        #expect(after.generation == 1 && after.layers == before.layers && after.kmsKey == before.kmsKey && after.masterKeyID == before.masterKeyID)
        #expect(after.revision == before.revision + 1 && after.blob != before.blob)
        #expect(try await service.open() == service.masterKey)
        #expect(try await service.mek(["decrypt", "\(service.tenant)"], input: sealed.output, service.elsewhere).output == "card")
        try await service.ok("open", plain, "--check")

        // One that the KMS was given another context with: what that was is the operator's to say.
        #expect(try await accept(service, imported, "--yes-i-understand", imported, "--kms-context", "app=other").status == .exited(1))
        let named = try await accept(service, imported, "--yes-i-understand", imported, "--kms-context", "app=billing")
        #expect(named.status == .exited(0), "\(UnexpectedResult(named))")
        #expect(try await service.mek(["open", imported, "--check"], service.elsewhere).status == .exited(0))
        let nothing = try await accept(service, "--all", "--yes-i-understand", "all")
        #expect(nothing.status == .exited(0) && nothing.output.contains("0 accepted, 0 failed"))
    }

    /// Whoever takes the tag away has a row that does not open, and is not the tenant's for an operator either.
    @Test func nobodyGetsBackToBefore() async throws {
        let service = try await TenantService(.sqlite)
        try await service.enable()
        let real = try await service.record()
        let masterKey = LockedBytes(repeatElement(0x41, count: 32))
        let ciphertext = try await service.withKMS { try await $0.encrypt(masterKey, under: real.kmsKey, context: service.tenant.encryptionContext) }
        let literal = { (bytes: [UInt8]) in "x'" + bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() + "'" }
        try await HeldSession.run(
            service,
            "UPDATE custody_tenant SET root_key = NULL, root_key_version = NULL, tag = NULL, generation = 0, blob = \(literal(ciphertext)), master_key_id = \(literal(Identifier(ofMasterKey: masterKey).bytes)) WHERE tenant = '\(service.tenant)'")
        try await service.ok("migrate")
        for arguments in [["open", "\(service.tenant)", "--check"], service.enabling] {
            #expect(try await service.refusal(arguments, exit: 1).code == "row-not-accepted")
        }
        // The operator who would vouch for it is told what is known of the tenant.
        let warned = try await service.ok("accept", "\(service.tenant)", "--yes-i-understand", "\(service.tenant)")
        #expect(warned.errors.contains("WARNING: ") && warned.errors.contains("\(real.masterKeyID)"), "\(warned.errors)")
    }

    /// The row of another tenant, with the tag taken away, does not become this one's by being accepted.
    @Test(arguments: [false, true]) func anotherTenantsRowIsNotAccepted(_ isEnabled: Bool) async throws {
        let service = try await TenantService(.sqlite)
        try await service.ok("create", "other", "--kms-key", service.firstKey.rawValue)
        if isEnabled { try await service.ok("enable", "other", "--root-key", "root", "--yes-i-understand", "other") }
        _ = try await makeOld(service, "other")
        let columns = ["master_key_id", "root_key", "root_key_version", "blob", "kms_key", "kms_context", "generation", "tag"]
        let assignments = columns.map { "\($0) = (SELECT \($0) FROM custody_tenant WHERE tenant = 'other')" }.joined(separator: ", ")
        try await HeldSession.run(service, "UPDATE custody_tenant SET \(assignments) WHERE tenant = '\(service.tenant)'")
        let result = try await accept(service, "\(service.tenant)", "--yes-i-understand", "\(service.tenant)")
        #expect(result.status == .exited(1), "\(UnexpectedResult(result))")
        #expect(!result.errors.contains("--kms-context tenant="), "\(result.errors)")
        #expect(try await service.record().tag == nil)
    }

    @Test func itTakesAWordForEach() async throws {
        let service = try await TenantService(.sqlite)
        _ = try await makeOld(service)
        for arguments in [["\(service.tenant)"], ["--all"], ["--all", "--yes-i-understand", "\(service.tenant)"]] {
            let result = try await service.mek(["accept"] + arguments)
            #expect(result.status == .exited(64) && result.errors.contains("othing was changed"), "\(UnexpectedResult(result))")
        }
        #expect(try await service.record().tag == nil)
    }

    @Test func anOlderRowThatIsMeantIsAccepted() async throws {
        let service = try await TenantService(.sqlite)
        try await service.enable()
        var old = try await service.record()
        try await service.ok("rotate-kms", "\(service.tenant)")
        old.revision = try await service.record().revision
        let restored = old
        try await service.withDatabase { try await $0.replace(restored, recording: nil) }
        #expect(try await service.refusal(["open", "\(service.tenant)", "--check"], exit: 1).code == "row-outdated")
        let accepted = try await service.ok("accept", "\(service.tenant)", "--yes-i-understand", "\(service.tenant)")
        #expect(accepted.output.contains("accepted as it stands") && accepted.errors.contains("WARNING: "), "\(UnexpectedResult(accepted))")
        try await service.ok("open", "\(service.tenant)", "--check")
        try await service.ok("rotate-kms", "\(service.tenant)")
        try await service.ok("open", "\(service.tenant)", "--check")
    }
}
