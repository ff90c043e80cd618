import AWSKMS
import CustodyClient
import CustodyProtocol
import Foundation
import MasterKey
import SecureMemory
import Testing
import TestSupport

@Suite struct StatusTests {
    private func document(_ result: ProcessResult) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
    }

    @Test(arguments: DatabaseKind.allCases) func showsATenant(_ kind: DatabaseKind) async throws {
        let service = try await TenantService(kind)
        let name = "\(service.tenant)"
        var tenant = try #require(try document(try await service.ok("status", name, "--json"))["tenant"] as? [String: Any])
        #expect(tenant["state"] as? String == "kms-only")
        #expect(tenant["layers"] as? [String] == ["kms"])
        #expect(tenant["kms_key"] as? String == service.firstKey.rawValue)
        #expect(tenant["last_opened_at"] == nil)

        let run = try PausedRun(service, service.enabling)
        try await run.go(to: 4)
        try await run.kill()
        let between = try document(try await service.ok("status", name, "--json"))
        tenant = try #require(between["tenant"] as? [String: Any])
        #expect(tenant["state"] as? String == "being enabled")
        let unfinished = try #require(tenant["unfinished_operation"] as? [String: Any])
        #expect(unfinished["step"] as? Int == 4)
        #expect(unfinished["new_kms_key"] as? String != nil)

        try await service.enable()
        try await service.ok("open", name, "--check")
        tenant = try #require(try document(try await service.ok("status", name, "--json"))["tenant"] as? [String: Any])
        #expect(tenant["state"] as? String == "enabled")
        #expect(tenant["layers"] as? [String] == ["root-key", "kms"])
        let rootKey = try #require(tenant["root_key"] as? [String: Any])
        #expect(rootKey["name"] as? String == "root" && rootKey["version"] as? Int == 1)
        let listed = try await service.daemon.withClient { try await $0.status().keys.first?.versions.first?.keyID }
        #expect(rootKey["id"] as? String == listed.map { $0.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() })
        #expect(tenant["last_opened_at"] as? String != nil)
        let text = try await service.ok("status", name)
        #expect(text.output.contains("root-key over kms") && text.output.contains("old KMS key scheduled for deletion"))
    }

    @Test(arguments: DatabaseKind.allCases) func listsAllTenants(_ kind: DatabaseKind) async throws {
        let service = try await TenantService(kind, tenant: "m")
        for name in ["b", "Z", "a-1", "a"] { try await service.ok("create", name, "--kms-key", service.firstKey.rawValue) }
        let list = try document(try await service.ok("status", "--json"))["tenants"] as? [[String: Any]]
        #expect(list?.compactMap { $0["tenant"] as? String } == ["Z", "a", "a-1", "b", "m"])
        #expect(try await service.ok("status").output.contains("kms-only"))
        // A row that can't be read hides no other.
        try await HeldSession.run(service, "UPDATE custody_tenant SET kms_context = '{' WHERE tenant = 'a-1'")
        let damaged = try document(try await service.ok("status", "--json"))
        #expect((damaged["tenants"] as? [[String: Any]])?.count == 4)
        #expect((damaged["damaged"] as? [[String: String]])?.map { $0["tenant"] } == ["a-1"])
        // Neither does one without a name that a tenant can have.
        try await HeldSession.run(service, "UPDATE custody_tenant SET tenant = 'no name!' WHERE tenant = 'a'")
        let nameless = try document(try await service.ok("status", "--json"))
        #expect((nameless["tenants"] as? [[String: Any]])?.compactMap { $0["tenant"] as? String } == ["Z", "b", "m"])
        #expect((nameless["damaged"] as? [[String: String]])?.count == 2)
        let rewrapped = try await service.mek("rewrap", "--all")
        #expect(rewrapped.status == .exited(1) && rewrapped.output.contains("3 not enabled, 2 failed"), "\(UnexpectedResult(rewrapped))")
    }

    @Test func needsNeitherKMSNorDaemon() async throws {
        let service = try await TenantService(.sqlite)
        try await service.enable()
        let result = try await run(
            "custody-mek", arguments: ["status", "\(service.tenant)"], environment: ["CUSTODY_MEK_DATABASE": service.address, "CUSTODY_SOCKET": "/nonexistent"])
        #expect(result.status == .exited(0))
    }

    // MARK: The master key itself

    @Test func opensIntoAPipeOnly() async throws {
        let service = try await TenantService(.sqlite)
        // What the tests start writes to a file.
        let refused = try await service.mek("open", "\(service.tenant)")
        #expect(refused.status == .exited(64) && refused.output.isEmpty)
        #expect(refused.errors.contains("a file") && refused.errors.contains("pipe"), "\(refused.errors)")
        #expect(try await service.mek("open", "\(service.tenant)", "--check").status == .exited(0))
        let script = "'\(Products.directory)/custody-mek' open '\(service.tenant)' | base64"
        let piped = try await run("/bin/sh", arguments: ["-c", script], environment: service.environment)
        #expect(piped.status == .exited(0), "\(piped.errors)")
        #expect(piped.output == Data(service.masterKey).base64EncodedString() + "\n")
        let shown = try await run(
            "/bin/sh", arguments: ["-c", script.replacing(" | base64", with: " >/dev/null")], environment: service.environment)
        #expect(shown.status == .exited(64), "\(shown.errors)")
    }

    // MARK: Making tenants

    @Test(arguments: DatabaseKind.allCases) func createsOnce(_ kind: DatabaseKind) async throws {
        let service = try await TenantService(kind)
        try await service.ok("create", "new", "--kms-key", service.firstKey.rawValue)
        #expect(try await service.refusal(["create", "new", "--kms-key", service.firstKey.rawValue], exit: 1).code == "tenant-exists")
        let sealed = try await service.ok("encrypt", "new", input: "card")
        #expect(try await service.ok("decrypt", "new", input: sealed.output).output == "card")
    }

    @Test func importProvesFirst() async throws {
        let service = try await TenantService(.sqlite)
        let file = try service.directory.write("mek.kms", service.firstCiphertext)
        let key = service.firstKey.rawValue
        let wrong = try await service.refusal(["import", "new", "--kms-key", key, "--kms-context", "tenant=other", "--in", file], exit: 1)
        #expect(wrong.code == "kms-ciphertext-refused", "\(wrong)")
        #expect(try await service.refusal(["status", "new"], exit: 1).code == "tenant-not-found")
        try await service.ok("import", "new", "--kms-key", key, "--kms-context", "tenant=\(service.tenant)", "--in", file)
        try await service.ok("open", "new", "--check")
        // The KMS is never asked for it with another context than the tenant's own.
        let record = try await service.withDatabase { try await $0.existingRecord(of: TenantName("new")) }
        #expect(record.kmsContext == ["tenant": "new"] && record.blob != service.firstCiphertext)
        let opened = try await service.withKMS { try await $0.decrypt(record.blob, under: record.kmsKey, context: ["tenant": "new"]) }
        #expect(opened.exposed() == service.masterKey)
    }

    // MARK: Wrong use

    @Test func wrongUse() async throws {
        let service = try await TenantService(.sqlite)
        for arguments in [
            ["enable"], ["enable", "\(service.tenant)", "--yes-i-understand", "\(service.tenant)"], ["enable", "a b", "--root-key", "root", "--yes-i-understand", "a b"], ["rewrap"], ["rewrap", "x", "--all"],
            ["rotate-kms", "\(service.tenant)", "--deletion-days", "6"], ["open", "\(service.tenant)", "--json"], ["disable", "acme"], ["import", "x"], ["accept"],
            ["accept", "x", "--all"], ["accept", "x", "--yes-i-understand", "y"], ["accept", "\(service.tenant)"], ["accept", "--all"],
            ["open", "\(service.tenant)", "--check", "--expect-mek", "12"], ["open", "\(service.tenant)", "--check", "--require-root-key", ""],
            ["enable", "\(service.tenant)", "--root-key", "root", "--keep-old-key", "--retire-old-key"],
        ] {
            let result = try await service.mek(arguments)
            #expect(result.status == .exited(64), "\(arguments): \(result.errors)")
            #expect(result.errors.hasPrefix("custody-mek: "), "\(arguments): \(result.errors)")
        }
        let garbage = try await service.mek("decrypt", "\(service.tenant)", "--json", input: "no sealed data")
        #expect(garbage.status == .exited(1) && garbage.output.contains("data-malformed"))
        #expect(service.proxy.requests.isEmpty)
    }
}
