import TestSupport
import Testing

/// Keys that Custody does not use, made by somebody who went past `custodyctl`: the error names the object and the reason.
@Suite struct RefusedKeyTests {
    @Test func extractable() async throws {
        let installation = try await Installation.ready(keys: [])
        try await installation.makeExtractableKey("storage")
        try await expectRefusal(installation, "storage", [Installation.id, "CKA_EXTRACTABLE is true"])
    }

    @Test func imported() async throws {
        let installation = try await Installation.ready(keys: [])
        try await installation.importKey("storage")
        try await expectRefusal(installation, "storage", [Installation.id, "CKA_NEVER_EXTRACTABLE is false", "CKA_ALWAYS_SENSITIVE is false", "imported"])
    }

    @Test func notMadeByCustody() async throws {
        let installation = try await Installation.ready(keys: [])
        try await installation.makeKey("storage", id: "42")
        let refused = try await wrapRefused(installation, "storage")
        for part in ["'storage'", "CKA_ID 42", "custodyctl key generate"] { #expect(refused.message.contains(part), "\(refused.message)") }
        let listed = try await installation.json("key", "list")
        #expect(listed["keys"].array.isEmpty)
        #expect(listed["foreign_keys"].array.map { $0["name"] } == ["storage"])
        // Its name is taken, and it has no versions to add to.
        #expect(try await installation.refusal("key", "generate", "storage").message.contains("has a key 'storage' already"))
        #expect(try await installation.refusal("key", "rotate", "storage").code == "key-refused")
    }

    @Test func twoObjectsOfOneID() async throws {
        let installation = try await Installation.ready()
        let daemon = try await installation.startDaemon()
        let blob = try await installation.ok("wrap", "--key", "payments", input: "content".utf8).bytes
        let id = try #require(try await installation.json("key", "show", "payments")["versions"][0]["id"].string)
        try await installation.makeKey("storage", id: id)
        // The daemon looks at the token every now and then.
        try await eventually("the daemon to see the second object") {
            try await installation.ctl("wrap", "--key", "payments", input: "content".utf8).status == .exited(1)
        }
        for key in ["payments", "storage"] {
            let refused = try await installation.refusal("wrap", "--key", key, input: "content".utf8)
            #expect(refused.code == "key-refused")
            for part in ["2 objects", id, "'payments'", "'storage'"] { #expect(refused.message.contains(part), "\(refused.message)") }
        }
        #expect(try await installation.refusal("unwrap", input: blob).code == "key-refused")
        #expect(try await installation.json("key", "list")["keys"].array.map { $0["versions"][0]["state"] } == ["refused", "refused"])

        try await installation.ok("key", "destroy", "storage", "--id", id, "--now", "--yes-i-understand", "storage")
        try await eventually("the blob to open again") { try await installation.ctl("unwrap", input: blob).text == "content" }
        try await daemon.stop()
    }

    @Test func anExceptionShowsEverywhere() async throws {
        let installation = try await Installation.ready(keys: [])
        try await installation.importKey("storage")
        try installation.directory.write(
            "custody.toml", String(decoding: try installation.content("custody.toml"), as: UTF8.self)
                .replacing("[keys]\n", with: "[keys]\nuse-without-proof = [\"storage\"]\n"))
        let daemon = try await installation.startDaemon()
        let blob = try await installation.ok("wrap", "--key", "storage", input: "content".utf8).bytes
        #expect(try await installation.ok("unwrap", input: blob).text == "content")
        let status = try await installation.json("status")["keys"][0]["versions"][0]
        #expect(status["state"] == "active")
        let listed = try await installation.json("key", "list")["keys"][0]["versions"][0]
        for said in [status["detail"].string, listed["exception"].string] {
            #expect(said?.contains("exception in the configuration") == true && said?.contains("CKA_NEVER_EXTRACTABLE is false") == true)
        }
        #expect(try await installation.json("doctor")["checks"].array.contains { $0["id"] == "key" && $0["level"] == "warn" })
        try await daemon.stop()
    }

    private func wrapRefused(_ installation: Installation, _ key: String) async throws -> Refusal {
        let daemon = try await installation.startDaemon()
        let refused = try await installation.refusal("wrap", "--key", key, input: "content".utf8)
        #expect(refused.code == "key-refused")
        try await daemon.stop()
        return refused
    }

    /// Wants `wrap`, `status` and `key list` to name the object and the reason.
    private func expectRefusal(_ installation: Installation, _ key: String, _ parts: [String]) async throws {
        let daemon = try await installation.startDaemon()
        let wrap = try await installation.refusal("wrap", "--key", key, input: "content".utf8)
        #expect(wrap.code == "key-refused")
        let status = try await installation.json("status")["keys"][0]["versions"][0]
        let listed = try await installation.json("key", "list")["keys"][0]["versions"][0]
        #expect(status["state"] == "refused")
        #expect(listed["state"] == "refused")
        for said in [wrap.message, status["detail"].string ?? "", listed["reason"].string ?? ""] {
            for part in ["'\(key)'"] + parts { #expect(said.contains(part), "\(said)") }
        }
        try await daemon.stop()
    }
}
