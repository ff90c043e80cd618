import Foundation
import TestSupport
import Testing

/// What the daemon is asked for, and what it refuses: contexts, sizes, and blobs that are none.
@Suite struct RequestTests {
    @Test func contextsBindABlob() async throws {
        let installation = try await Installation.ready()
        let daemon = try await installation.startDaemon()
        let blob = try await installation.ok("wrap", "--key", "payments", "--context", "tenant=acme", "--context", "use=a=b", input: "content".utf8).bytes
        // The order does not matter, the first = divides.
        #expect(try await installation.ok("unwrap", "--context", "use=a=b", "--context", "tenant=acme", input: blob).text == "content")
        for context in [[], ["tenant=acme"], ["tenant=globex", "use=a=b"], ["tenant=acme", "use=a=b", "more=1"], ["tenant=acme", "use="]] {
            for command in ["unwrap", "rewrap"] {
                let arguments = [command, "--json"] + context.flatMap { ["--context", $0] }
                let refused = try Refusal(try await installation.ctl(arguments, input: blob).exiting(1))
                #expect(refused.code == "decryption-failed", "\(arguments)")
            }
        }
        for wrong in [["--context", "tenant=acme", "--context", "tenant=globex"], ["--context", "tenant"], ["--context", "=acme"]] {
            let refused = try await installation.ctl(["wrap", "--key", "payments"] + wrong, input: "content".utf8).exiting(64)
            #expect(refused.errors.contains("--context"), "\(refused.errors)")
            #expect(refused.bytes.isEmpty)
        }
        // An empty value is a value.
        let empty = try await installation.ok("wrap", "--key", "payments", "--context", "tenant=", input: "content".utf8).bytes
        #expect(try await installation.ok("unwrap", "--context", "tenant=", input: empty).text == "content")
        #expect(try await installation.refusal("unwrap", input: empty).code == "decryption-failed")
        let tooMany = (1...33).flatMap { ["--context", "key\($0)=value"] }
        let refused = try Refusal(try await installation.ctl(["wrap", "--key", "payments", "--json"] + tooMany, input: "content".utf8).exiting(1))
        #expect(refused.code == "invalid-context")
        try await daemon.stop()
    }

    @Test func auditSaysForWhom() async throws {
        let installation = try await Installation.ready()
        let daemon = try await installation.startDaemon()
        try await installation.ok(
            "wrap", "--key", "payments", "--context", "tenant=acme", "--on-behalf-of", "user=anna \"the 1st\"", "--on-behalf-of", "request=r-17",
            input: "content".utf8)
        try await installation.ok("wrap", "--key", "payments", input: "content".utf8)
        let records = try installation.audit().filter { $0["operation"] == "wrap" }
        try #require(records.count == 2)
        #expect(records[0]["on_behalf_of"] == .object(["user": "anna \"the 1st\"", "request": "r-17"]))
        #expect(records[0]["context"] == .object(["tenant": "acme"]))
        #expect(records[0]["key"] == "payments")
        #expect(records[0]["decision"] == "allowed")
        #expect(records[0]["uid"].number == Double(getuid()))
        #expect(records[1]["on_behalf_of"] == .null)
        let twice = try await installation.refusal(
            "wrap", "--key", "payments", "--on-behalf-of", "user=a", "--on-behalf-of", "user=b", exit: 64, input: "content".utf8)
        #expect(twice.message.contains("--on-behalf-of"))
        #expect(try installation.audit().filter { $0["operation"] == "wrap" }.count == 2)
        try await daemon.stop()
    }

    @Test func sizes() async throws {
        let installation = try await Installation.ready()
        let daemon = try await installation.startDaemon()
        let largest = [UInt8]((0..<65_536).map { UInt8(truncatingIfNeeded: $0 &* 31) })
        for size in [1, 65_536] {
            let content = Array(largest.prefix(size))
            let blob = try await installation.ok("wrap", "--key", "payments", input: content).bytes
            #expect(try await installation.ok("unwrap", input: blob).bytes == content, "\(size) bytes")
        }
        let empty = try await installation.refusal("wrap", "--key", "payments")
        #expect(empty.code == "invalid-request")
        #expect(empty.message.contains("empty"))
        for size in [65_537, 1_048_576, 1_048_577, 3_000_000] {
            let refused = try await installation.refusal("wrap", "--key", "payments", input: [UInt8](repeating: 1, count: size))
            #expect(refused.code == "payload-too-large", "\(size) bytes")
        }
        // A blob longer than any that wrap makes.
        let long = Array("CTDY".utf8) + [1, 1] + [UInt8](repeating: 0, count: 65_536 + 50 - 6 + 1)
        #expect(try await installation.refusal("unwrap", input: long).code == "payload-too-large")
        try await installation.ok("status")
        try await daemon.stop()
    }

    @Test func blobsThatAreNone() async throws {
        let installation = try await Installation.ready()
        let daemon = try await installation.startDaemon()
        let blob = try await installation.ok("wrap", "--binary", "--key", "payments", input: "content".utf8).bytes
        func changed(_ place: Int, _ value: UInt8) -> [UInt8] {
            var changed = blob
            changed[place] = value
            return changed
        }
        let cases: [(what: String, bytes: [UInt8], code: String)] = [
            ("nothing", [], "malformed-blob"), ("text", Array("hello\n".utf8), "malformed-blob"),
            ("bytes", [0xFF, 0xFE, 0x00], "malformed-blob"), ("the magic alone", Array("CTDY".utf8), "malformed-blob"),
            ("cut off", Array(blob.prefix(49)), "malformed-blob"), ("no base64url", Array("custody:v1:a+b/".utf8), "malformed-blob"),
            ("another format", changed(4, 2), "unsupported-format"), ("another suite", changed(5, 9), "unsupported-format"),
            ("another text form", Array("custody:v2:QUJD".utf8), "unsupported-format"),
            ("an absent key", changed(21, blob[21] ^ 1), "key-not-found"), ("a changed nonce", changed(22, blob[22] ^ 1), "decryption-failed"),
            ("a changed byte", changed(35, blob[35] ^ 1), "decryption-failed"), ("a changed tag", changed(blob.count - 1, blob[blob.count - 1] ^ 1), "decryption-failed"),
            ("one byte short", Array(blob.dropLast()), "decryption-failed"), ("one byte more", blob + [0], "decryption-failed"),
        ]
        for (what, bytes, code) in cases {
            for command in ["unwrap", "rewrap"] {
                let refused = try await installation.refusal(command, input: bytes)
                #expect(refused.code == code, "\(command), \(what): \(refused.message)")
            }
        }
        #expect(try await installation.refusal("unwrap", input: changed(4, 2)).message.contains("format version 2"))
        #expect(try await installation.refusal("unwrap").message.contains("empty"))
        let absent = try await installation.refusal("wrap", "--key", "storage", input: "content".utf8)
        #expect(absent.code == "key-not-found")
        #expect(absent.message.contains("'storage'"))
        #expect(try await installation.ok("unwrap", input: blob).text == "content", "and the daemon serves on")
        try await daemon.stop()
    }
}
