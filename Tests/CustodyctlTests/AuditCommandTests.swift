import ByteEncoding
import Crypto
import Custody
import Foundation
import PKCS11
import TestSupport
import Testing

/// `audit init`, `verify` and `show` with the real program, over logs whose checkpoints a token made.
@Suite struct AuditCommandTests {
    // MARK: init

    @Test func initIsProvenAndDoneOnce() async throws {
        let installation = try await Installation(label: "custody")
        let made = try await installation.json("audit", "init")
        #expect(made["made"] == true)
        #expect(made["version"] == 1)
        #expect(made["export_trial"] == "refused")
        let again = try await installation.json("audit", "init")
        #expect(again["made"] == false)
        #expect(again["id"] == made["id"])
        #expect(try await installation.ok("audit", "init").text.contains("Nothing was changed"))
        let rotated = try await installation.json("audit", "init", "--rotate")
        #expect(rotated["version"] == 2)
        #expect(rotated["id"] != made["id"])

        try await SoftHSM.withSession(on: installation.token) { session in
            let keys = try AuditKey.all(session)
            #expect(keys.map(\.id.version).sorted() == [1, 2])
            #expect(try AuditKey.find(session)?.id.description == rotated["id"].string)
            for key in keys {
                let attributes = try session.attributes(of: key.object, ProofOfCustody.attributeTypes + [.verify])
                for type in [AttributeType.token, .isPrivate, .sensitive, .alwaysSensitive, .neverExtractable, .local, .sign, .verify] {
                    #expect(attributes.bool(type) == true, "\(type)")
                }
                for type in [AttributeType.extractable, .encrypt, .decrypt, .wrap, .unwrap, .derive] {
                    #expect(attributes.bool(type) == false, "\(type)")
                }
                #expect(attributes.number(.valueLength) == 32)
            }
            // The trial's key is gone.
            #expect(try session.objects(.secretKey).count == 2)
        }
        // It is no root key, and its name is not free for one.
        let listed = try await installation.json("key", "list")
        #expect(listed["keys"].array.isEmpty && listed["foreign_keys"].array.isEmpty)
        _ = try await installation.refusal("key", "generate", AuditKey.label)
    }

    // MARK: verify

    @Test func theWholeLog() async throws {
        let (installation, log) = try await Installation.withAuditLog()
        let document = try await installation.json("audit", "verify", "--from-start")
        #expect(document["whole"] == true)
        #expect(document["token_asked"] == true)
        #expect(document["files"] == 3)
        #expect(document["lines"] == 16)
        #expect(document["first_sequence"] == 1)
        #expect(document["last_sequence"] == 16)
        #expect(document["log"].string == hexadecimal(log.log))
        #expect(document["checkpoints"]["verified"] == 3)
        #expect(document["covered_up_to"] == 14)
        #expect(document["window"]["lines"] == 2)
        #expect(document["longest_stretch"]["lines"] == 5)
        #expect(document["anchors"].array.map { $0["finding"] } == ["fits"])
        #expect(document["remarks"].array.isEmpty, "\(document["remarks"])")
        let text = try await installation.ok("audit", "verify").text
        #expect(text.hasPrefix("The log is whole."), "\(text)")
        #expect(text.contains("3, verified by the token"))

        // Any order of the files, a pipe, both, and a part.
        let files = ["audit.jsonl.2", "audit.jsonl-1", "audit.jsonl"].map(installation.directory.file)
        for order in [[2, 0, 1], [1, 2, 0], [0, 0, 1, 2]] {
            #expect(try await installation.ctl(["audit", "verify", "--json"] + order.map { files[$0] }).exiting().json["lines"] == 16)
        }
        #expect(try await installation.json("audit", "verify", "-", input: log.bytes)["lines"] == 16)
        #expect(try await installation.json("audit", "verify", files[2], files[1], "-", "--from-start", input: log.files[0])["lines"] == 16)
        #expect(try await installation.json("audit", "verify", files[1], files[2])["begins_at_beginning"] == false)
        _ = try await installation.ctl("audit", "verify", files[1], files[2], "--from-start").exiting(1)
        _ = try await installation.ctl("audit", "verify", files[0]).exiting(1)
        try await installation.ok("audit", "verify", files[0], "--part")
        // What the journal has kept may begin anywhere.
        let rest = log.bytes.split(separator: 0x0A).dropFirst(2).flatMap { Array($0) + ([0x0A] as [UInt8]) }
        let stream = try await installation.json("audit", "verify", "-", input: rest)
        #expect(stream["remarks"].array.count == 1)
    }

    @Test func whatIsNotWholeIsNamed() async throws {
        let (installation, log) = try await Installation.withAuditLog()
        func problem(_ arguments: String...) async throws -> JSON {
            let reply = try await installation.ctl(["audit", "verify", "--json"] + arguments).exiting(1)
            #expect(reply.errors.isEmpty)
            return try reply.json["problems"][0]
        }
        // Who made it is not the point: one digit.
        let changed = String(decoding: log.files[1], as: UTF8.self).replacing("\"uid\":1001", with: "\"uid\":1002", maxReplacements: 1)
        try installation.directory.write("audit.jsonl-1", changed)
        let hash = try await problem()
        #expect(hash["code"] == "hash-mismatch")
        #expect(hash["line"] == 2)
        #expect(hash["sequence"] == 7)
        #expect(hash["file"].string == installation.directory.file("audit.jsonl-1"))
        let text = try await installation.ctl("audit", "verify").exiting(1).text
        #expect(text.hasPrefix("NOT WHOLE: line 2 of "), "\(text)")
        #expect(try await problem("--chain-only")["code"] == "hash-mismatch")
        try installation.write(log)

        // Cut back to an older state.
        let cut = log.files[2].split(separator: 0x0A).dropLast(2).flatMap { Array($0) + ([0x0A] as [UInt8]) }
        try installation.directory.write("audit.jsonl", cut)
        #expect(try await problem()["code"] == "cut-back")
        #expect(try await problem("--chain-only")["code"] == "cut-back")
        // With the anchor gone too, nothing says where the log ends; one that is kept elsewhere does.
        try installation.directory.write("kept", log.anchor)
        try FileManager.default.removeItem(atPath: installation.directory.file("state/audit-anchor"))
        #expect(try await problem()["code"] == "no-anchor")
        #expect(try await problem("--anchor", installation.directory.file("kept"))["code"] == "cut-back")
        #expect(try await installation.json("audit", "verify", "--chain-only")["remarks"].array.count == 1)
        // So does one on the token.
        try await SoftHSM.withSession(on: installation.token) { session in
            _ = try session.createObject([
                .objectClass(.data), .bool(.token, true), .bool(.isPrivate, true), .application("custody"),
                .label(log.checkpoints[2].text),
            ])
        }
        #expect(try await problem()["code"] == "cut-back")
        try installation.write(log)
        #expect(try await installation.json("audit", "verify")["anchors"].array.count == 2)

        try installation.directory.write("state/audit-anchor", "something else")
        #expect(try await installation.refusal("audit", "verify").code == "anchor-damaged")
        try installation.write(log)
        try installation.directory.write("audit.jsonl", log.files[2].dropLast())
        #expect(try await problem()["code"] == "torn-line")
        try installation.directory.write("audit.jsonl-1", "")
        #expect(try await problem()["code"] == "empty")
        try FileManager.default.removeItem(atPath: installation.directory.file("audit.jsonl-1"))
        #expect(try await problem()["code"] == "sequence-gap")
    }

    @Test func whatTheTokenDoesNotVouchFor() async throws {
        let (installation, log) = try await Installation.withAuditLog()
        // The same lines, and a token whose key is another.
        let stranger = try await Installation(label: "custody")
        try stranger.write(log)
        let missing = try await stranger.ctl("audit", "verify", "--json").exiting(1).json
        #expect(missing["problems"][0]["code"] == "unknown-key")
        try await stranger.ok("audit", "init")
        #expect(try await stranger.ctl("audit", "verify", "--json").exiting(1).json["problems"][0]["code"] == "unknown-key")
        // The hashes fit, and who is satisfied with that is told what it means.
        let chain = try await stranger.ok("audit", "verify", "--chain-only").text
        #expect(chain.contains("does not prove"), "\(chain)")
        #expect(!chain.contains("The log is whole"))

        // No checkpoint at all.
        var bare = AuditFixture()
        bare.decision()
        let path = try installation.directory.write("bare.jsonl", bare.bytes)
        #expect(try await installation.ctl("audit", "verify", path, "--json").exiting(1).json["problems"][0]["code"] == "nothing-vouched-for")
        try FileManager.default.removeItem(atPath: installation.directory.file("state/audit-anchor"))
        try await installation.ok("audit", "verify", path, "--chain-only")

        // A key after its rotation, and after its end.
        try installation.write(log)
        try await installation.ok("audit", "init", "--rotate")
        try await installation.ok("audit", "verify")
        try await SoftHSM.withSession(on: installation.token) { session in
            for key in try AuditKey.all(session) where key.id.version == 1 { try session.destroyObject(key.object) }
        }
        #expect(try await installation.ctl("audit", "verify", "--json").exiting(1).json["problems"][0]["code"] == "unknown-key")
    }

    /// Somebody without the PIN plants an audit key whose value he knows, and forges a whole log with it.
    @Test func aLogForgedWithAPlantedKeyIsRefused() async throws {
        let (installation, genuine) = try await Installation.withAuditLog()
        let (id, value) = (KeyID(newFor: .max), [UInt8](1...32))
        try await SoftHSM.withSession(on: installation.token) { session in
            try session.logout()
            _ = try session.createObject([
                .objectClass(.secretKey), .keyType(.genericSecret), .bool(.token, true), .bool(.isPrivate, false), .bool(.sensitive, true),
                .bool(.extractable, false), .bool(.sign, true), .bool(.verify, true), .bool(.encrypt, false), .bool(.decrypt, false),
                .bool(.wrap, false), .bool(.unwrap, false), .bool(.derive, false), .label(AuditKey.label), .id(id.bytes), .value(value),
            ])
        }
        var forged = AuditFixture()
        for _ in 0..<3 { forged.decision(user: "nobody-did-it") }
        forged.checkpoint(id) { message in Array(HMAC<SHA256>.authenticationCode(for: message, using: SymmetricKey(data: value))) }
        forged.decision()
        for name in ["audit.jsonl.2", "audit.jsonl-1"] { try FileManager.default.removeItem(atPath: installation.directory.file(name)) }
        try installation.directory.write("audit.jsonl", forged.bytes)
        try installation.directory.write("state/audit-anchor", forged.anchor)
        let refused = try await installation.ctl("audit", "verify", "--json").exiting(1).json
        #expect(refused["whole"] == false)
        let problem = refused["problems"][0]
        #expect(problem["code"] == "unbelieved-key")
        #expect(problem["message"].string?.contains(id.description) == true && problem["message"].string?.contains("CKA_PRIVATE is false") == true)
        #expect(try await installation.ctl("audit", "verify").exiting(1).text.hasPrefix("NOT WHOLE: "))

        // The genuine log is whole, and it is told whose word was believed, and whose not.
        try installation.write(genuine)
        let whole = try await installation.json("audit", "verify")
        #expect(whole["whole"] == true)
        #expect(whole["audit_keys"].array.count == 1)
        let key = whole["audit_keys"][0]
        #expect(key["version"] == 1)
        #expect(key["label"].string == AuditKey.label)
        #expect(key["created_here"] == true)
        #expect(key["proven"] == true)
        #expect(key["proof"].string?.contains("C_WrapKey with CKM_AES_KEY_WRAP") == true, "\(key["proof"])")
        #expect(whole["unbelieved"].array.map { $0["id"].string } == [id.description])
        let text = try await installation.ok("audit", "verify").text
        #expect(text.contains("audit key version 1") && text.contains("made on this token"), "\(text)")
        #expect(try await installation.ok("audit", "verify").errors.contains(id.description) || text.contains(id.description))

        // It is in nobody's way, and takes no number.
        let again = try await installation.json("audit", "init")
        #expect(again["made"] == false)
        #expect(again["version"] == 1)
        #expect(again["unbelieved"].array.count == 1)
        #expect(try await installation.json("audit", "init", "--rotate")["version"] == 2)
        let report = try await installation.json("doctor")
        #expect(report["result"] != "fail")
        #expect(report["checks"].array.contains { $0["id"] == "audit-key" && $0["level"] == "warn" && $0["detail"].string?.contains(id.description) == true })
    }

    @Test func whatCanNotBeReached() async throws {
        let (installation, _) = try await Installation.withAuditLog()
        let absent = try await installation.ctl("audit", "verify", "--token", "pkcs11:token=other").exiting(69)
        #expect(absent.errors.contains("--chain-only"), "\(absent.errors)")
        try installation.directory.write("wrong", "a-wrong-pin\n")
        _ = try await installation.ctl("audit", "verify", "--pin-file", installation.directory.file("wrong")).exiting(77)
        #expect(try await installation.refusal("audit", "verify", "/nowhere/audit.jsonl").code == "input-failed")
        try installation.directory.write("audit.jsonl.3.gz", "x")
        let skipped = try await installation.json("audit", "verify")["skipped_files"]
        #expect(skipped.array == [.string(installation.directory.file("audit.jsonl.3.gz"))])
        #expect(try await installation.refusal("audit", "verify", installation.directory.file("audit.jsonl.3.gz")).message.contains("zcat"))
        _ = try await installation.ctl("audit", "verify", "-", "-").exiting(64)
    }

    /// A daemon appends while the log is read: what it has not finished is left out, and said so.
    @Test func aLiveLog() async throws {
        let (installation, log) = try await Installation.withAuditLog()
        try installation.directory.write("audit.jsonl", log.files[2].dropLast(20))
        let descriptor = open(installation.auditFile, O_RDWR | O_CLOEXEC)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        try #require(flock(descriptor, LOCK_EX | LOCK_NB) == 0)
        let document = try await installation.json("audit", "verify")
        #expect(document["whole"] == true)
        #expect(document["lines"] == 15)
        #expect(document["remarks"].array.count == 1)
        try #require(flock(descriptor, LOCK_UN) == 0)
        _ = try await installation.ctl("audit", "verify").exiting(1)
        // Just rotated: the daemon has not written to the new file yet.
        try installation.write(log)
        try installation.directory.write("audit.jsonl.1", log.files[2])
        try installation.directory.write("audit.jsonl", "")
        #expect(try await installation.json("audit", "verify")["lines"] == 16)
    }

    /// The first problem is the one that is named, though the daemon itself told of it and reading went on.
    @Test func theFirstOfSeveralProblems() async throws {
        let installation = try await Installation()
        var log = AuditFixture()
        log.decision()
        log.event("anchor-unmet", #""covers":9,"reason":"the log ends at line 2""#)
        log.decision(uid: 1_005)
        let path = try installation.directory.write("log", String(decoding: log.bytes, as: UTF8.self).replacing("\"uid\":1005", with: "\"uid\":1006"))
        func verify(_ more: String...) async throws -> (codes: [JSON], text: String) {
            let arguments = ["audit", "verify", path, "--chain-only"] + more
            let problems = try await installation.ctl(arguments + ["--json"]).exiting(1).json["problems"].array
            return (problems.map { $0["code"] }, try await installation.ctl(arguments).exiting(1).text)
        }
        let changed = try await verify()
        #expect(changed.codes == ["lines-lost", "hash-mismatch"])
        #expect(changed.text.hasPrefix("NOT WHOLE: line 3 of "), "\(changed.text)")
        #expect(changed.text.contains("\n  and: line 4 of ") && changed.text.contains("Reading stopped there"))
        // Here reading went on to the end.
        try installation.directory.write("log", log.bytes)
        let anchor = AuditCheckpoint(
            log: log.log, sequence: 9, hash: AuditChain.origin, keyID: KeyID(newFor: 1).bytes, mac: AuditChain.origin)
        let cut = try await verify("--anchor", try installation.directory.write("anchor", anchor.text + "\n"))
        #expect(cut.codes == ["lines-lost", "cut-back"])
        #expect(cut.text.hasPrefix("NOT WHOLE: line 3 of ") && !cut.text.contains("Reading stopped"), "\(cut.text)")
    }

    /// Nothing that has a log's or an anchor's name is waited for or followed.
    @Test(.timeLimit(.minutes(2))) func whatIsNoFile() async throws {
        let (installation, log) = try await Installation.withAuditLog()
        let pipe = installation.directory.file("audit.jsonl.9")
        try #require(mkfifo(pipe, 0o600) == 0)
        try FileManager.default.createDirectory(atPath: installation.directory.file("audit.jsonl-old"), withIntermediateDirectories: true)
        let other = try installation.directory.write("other", AuditFixture().bytes)
        try FileManager.default.createSymbolicLink(atPath: installation.directory.file("audit.jsonl.8"), withDestinationPath: other)
        #expect(try await installation.json("audit", "verify")["files"] == 3)
        _ = try await installation.json("audit", "show")

        // Named, a pipe is read, and a folder is none.
        #expect(try await installation.json("audit", "verify", "/dev/stdin", input: log.bytes)["lines"] == 16)
        #expect(try await installation.ctl("audit", "verify", pipe, "--json").exiting(1).json["problems"][0]["code"] == "empty")
        #expect(try await installation.refusal("audit", "verify", installation.directory.file("audit.jsonl-old")).code == "input-failed")

        for anchor in [pipe, installation.directory.file("audit.jsonl-old")] {
            #expect(try await installation.refusal("audit", "verify", "--anchor", anchor).code == "anchor-damaged")
        }
        let kept = installation.directory.file("state/audit-anchor")
        try FileManager.default.removeItem(atPath: kept)
        try #require(mkfifo(kept, 0o600) == 0)
        #expect(try await installation.refusal("audit", "verify").code == "anchor-damaged")
    }

    // MARK: show

    private static let blob = Array("CTDY and what a blob holds".utf8)

    private static func shown() async throws -> Installation {
        let installation = try await Installation()
        var log = AuditFixture()
        let digest = hexadecimal(AuditChain.hash(after: [], blob))
        log.decision("wrap", more: #","blob_sha256":"\#(digest)""#, time: "2026-11-20T10:00:00.000000Z")
        log.decision(
            "unwrap", user: "reports", uid: 1_002, tenant: "globex", decision: #""decision":"denied","reason":"no grant fits""#,
            more: #","blob_sha256":"\#(digest)""#, time: "2026-11-21T10:00:00.000000Z")
        log.rotate()
        log.decision("rewrap", key: "mail", more: #","blob_sha256":"00aa","new_blob_sha256":"\#(digest)""#, time: "2026-11-22T10:00:00.000000Z")
        log.decision(
            "wrap", user: "evil\\u001b[31m", uid: 1_003, decision: #""decision":"limited","rule":"custody.toml:9","error":"rate-limited""#,
            time: "2026-11-23T10:00:00.000000Z")
        try installation.directory.write("audit.jsonl.1", log.files[0])
        try installation.directory.write("audit.jsonl", log.files[1])
        try installation.directory.write("blob", blob)
        try installation.directory.write("blob.text", Envelope.text(blob) + "\n")
        return installation
    }

    /// Filters, and the sequences of the lines that fit them.
    private static let filters: [([String], [Int])] = [
        ([], [1, 2, 3, 4, 5, 6]), (["--since", "2026-11-21"], [1, 3, 4, 5, 6]), (["--until", "2026-11-21T00:00"], [2]),
        (["--since", "2026-11-21T10:00:00Z", "--until", "2026-11-22T11:00:00+01:00"], [3]), (["--since", "10000w", "--operation", "wrap"], [2, 6]),
        (["--user", "billing"], [2, 5]), (["--user", "1002"], [3]), (["--user", "nobody"], []), (["--key", "mail"], [5]),
        (["--tenant", "globex"], [3]), (["--context", "tenant=acme", "--context", "region=eu"], [2, 5, 6]), (["--context", "region=us"], []),
        (["--decision", "denied"], [3]), (["--decision", "limited"], [6]), (["--event", "log-continues"], [4]), (["--request", "2"], [3]),
        (["--blob-file", "blob"], [2, 3, 5]), (["--blob-file", "blob.text", "--operation", "rewrap"], [5]), (["--blob", "00AA"], [5]),
        (["--last", "2"], [5, 6]), (["--last", "9223372036854775807"], [1, 2, 3, 4, 5, 6]), (["--user", "billing", "--last", "1"], [5]),
    ]

    @Test func filtersChoose() async throws {
        let installation = try await Self.shown()
        for (arguments, sequences) in Self.filters {
            let records = try await installation.ctl(["audit", "show", "--json"] + arguments).exiting().json
            #expect(records.array.map { $0["sequence"].number.map { Int($0) } } == sequences, "\(arguments)")
        }
        let raw = try await installation.ok("audit", "show", "--lines").bytes
        #expect(raw == (try installation.content("audit.jsonl.1")) + (try installation.content("audit.jsonl")), "unchanged, by sequence")
        for wrong in [["--since", "soon"], ["--decision", "maybe"], ["--operation", "melt"], ["--blob", "xyz"], ["--last", "0"], ["--since", "1000000000w"], ["--json", "--lines"]] {
            _ = try await installation.ctl(["audit", "show"] + wrong).exiting(64)
        }
    }

    @Test func theTable() async throws {
        let installation = try await Self.shown()
        let rows = try await installation.ok("audit", "show").text.split(separator: "\n")
        #expect(rows.count == 7)
        #expect(rows[0].hasPrefix("TIME"))
        #expect(rows[1].contains("log-begins"))
        #expect(rows[3].contains("reports") && rows[3].contains("payments v1") && rows[3].contains("tenant=globex") && rows[3].hasSuffix("no grant fits"))
        #expect(rows[6].contains("rate-limited"))
        #expect(!rows[6].contains("\u{1B}"), "nothing of a client's reaches the terminal as a command")
        #expect(try await installation.ok("audit", "show", "--key", "none").trimmed == "No line fits.")
        // Damage does not hide the rest.
        try installation.directory.write("audit.jsonl", "garbage\n" + String(decoding: try installation.content("audit.jsonl"), as: UTF8.self))
        let reply = try await installation.ok("audit", "show", "--operation", "rewrap")
        #expect(reply.text.contains("mail"))
        #expect(reply.errors.contains("audit verify"))
    }
}
