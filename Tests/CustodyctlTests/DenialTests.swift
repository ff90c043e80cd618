import CustodyClient
import CustodyProtocol
import Foundation
import SecureMemory
import TestSupport
import Testing

/// Who gets no answer: nobody listens, or no grant covers it.
@Suite struct DenialTests {
    @Test func noDaemon() async throws {
        let installation = try await Installation.ready()
        for command in [["status"], ["wrap", "--key", "payments"], ["data-key", "--key", "payments"]] {
            let reply = try await installation.ctl(command + ["--deadline-ms", "200", "--json"], input: "content".utf8).exiting(69)
            let refused = try Refusal(reply)
            #expect(refused.code == "cannot-connect")
            #expect(refused.message.contains(installation.socket), "\(refused.message)")
        }
        // What a killed daemon leaves behind is no daemon either.
        let daemon = try await installation.startDaemon()
        try await daemon.kill()
        #expect(FileManager.default.fileExists(atPath: installation.socket))
        let refused = try await installation.refusal("status", "--deadline-ms", "200", exit: 69)
        #expect(refused.message.contains(installation.socket), "\(refused.message)")
        let named = try await installation.refusal("status", "--deadline-ms", "200", "--socket", "/nowhere/s", exit: 69)
        #expect(named.message.contains("/nowhere/s"), "the flag overrides the configuration")
        let again = try await installation.startDaemon()
        try await installation.ok("status")
        try await again.stop()
    }

    @Test(.enabled(if: getuid() == 0, "only root can run a program as another user"))
    func anotherUserIsDenied() async throws {
        let installation = try await Installation.ready()
        let daemon = try await installation.startDaemon()
        let blob = try await installation.ok("wrap", "--key", "payments", input: "content".utf8).bytes
        // The stranger may enter the folder and use the socket: what refuses is the daemon.
        chmod(installation.directory.path, 0o711)
        try FileManager.default.copyItem(atPath: "\(Products.directory)/custodyctl", toPath: installation.directory.file("custodyctl"))
        func stranger(_ arguments: String..., input: [UInt8] = []) async throws -> Reply {
            try await installation.start(
                ["setpriv", "--reuid=64102", "--regid=64102", "--clear-groups", "./custodyctl"] + arguments + ["--socket", "s", "--json"],
                input: input)
        }
        let replies = [
            try await stranger("wrap", "--key", "payments", input: Array("content".utf8)), try await stranger("unwrap", input: blob),
            try await stranger("rewrap", input: blob), try await stranger("wrap", "--key", "absent", input: Array("content".utf8)),
            try await stranger("data-key", "--key", "payments"), try await stranger("status"),
        ]
        var messages: Set<String> = []
        for reply in replies {
            let refused = try Refusal(try reply.exiting(77))
            #expect(refused.code == "denied")
            messages.insert(refused.message)
        }
        #expect(messages.count == 1, "whether the key exists shows in no word: \(messages)")
        let records = try installation.audit().filter { $0["uid"] == 64_102 }
        #expect(records.map { $0["operation"] } == ["wrap", "unwrap", "rewrap", "wrap", "generate-data-key", "status"])
        #expect(records.allSatisfy { $0["decision"] == "denied" && $0["reason"] == "no grant names this principal" })
        #expect(try await installation.ok("unwrap", input: blob).text == "content")
        try await daemon.stop()
    }

    /// KELVIN SIGN is K by canonical equivalence, by which Swift compares texts, and another name by its bytes, by which rules do.
    @Test func aNameThatIsOnlyEquivalentPassesNoDenial() async throws {
        let denial = "\n[[deny]]\neveryone = true\nkeys = [\"HR-KEK\"]\n"
        let installation = try await Installation.ready(keys: ["HR-KEK"], grants: Grants.everything + denial)
        let daemon = try await installation.startDaemon()
        let denied = try await installation.refusal("wrap", "--key", "HR-KEK", exit: 77, input: "content".utf8)
        #expect(denied.code == "denied")
        let client = installation.client()
        let results = try await client.batch([
            .wrap(SecretBytes([1]), key: "HR-\u{212A}EK", context: [:]),
            .generateDataKey(key: "HR-\u{212A}EK", length: 32, withPlaintext: true, context: [:]),
            .encrypt(SecretBytes([1]), key: "HR-\u{212A}EK", aad: []),
        ])
        for result in results {
            guard case .failure(let error) = result else {
                Issue.record("it is taken for the key that is denied")
                continue
            }
            #expect(error.code == .server(.invalidRequest))
        }
        await client.shutdown()
        #expect(try installation.audit().suffix(3).allSatisfy { $0["decision"] == "rejected" && $0["key"].string == nil })
        try await daemon.stop()
    }

    /// `custodyctl` words a denial itself, so the daemon's own answer is looked at here.
    @Test func theWireSaysDeniedAndNoMore() async throws {
        let installation = try await Installation.ready()
        let first = try await installation.startDaemon()
        let blob = try await installation.ok("wrap", "--binary", "--key", "payments", input: "content".utf8).bytes
        try await first.stop()
        try installation.directory.write(
            "custody.toml", String(decoding: try installation.content("custody.toml"), as: UTF8.self)
                .replacing(Grants.everything, with: Grants.toAnother))
        let daemon = try await installation.startDaemon(until: nil)
        var absent = blob
        absent[20] ^= 1
        let client = installation.client()
        let results = try await client.batch([
            .wrap(SecretBytes(Array("content".utf8)), key: "payments", context: [:]),
            .wrap(SecretBytes(Array("content".utf8)), key: "absent", context: [:]),
            .unwrap(blob, context: [:]), .unwrap(absent, context: [:]), .rewrap(blob, context: [:]),
            .generateDataKey(key: "payments", length: 32, withPlaintext: true, context: [:]), .status,
        ])
        #expect(results.count == 7)
        for result in results {
            guard case .failure(let error) = result else {
                Issue.record("\(result) is not denied")
                continue
            }
            #expect(error.code == .server(.denied))
            #expect(error.message == "denied")
            #expect(error.retryAfter == nil)
        }
        await client.shutdown()
        let reasons = Set(try installation.audit().suffix(7).map { $0["reason"].string ?? "" })
        #expect(!reasons.contains(""), "the audit log knows why: \(reasons)")
        try await daemon.stop()
    }
}
