import ByteEncoding
import Custody
import Foundation
import PKCS11
import TestSupport

/// Writes an audit log line by line as a daemon does, with checkpoints of the token's.
struct AuditFixture {
    let log: [UInt8] = (0..<16).map { _ in UInt8.random(in: .min ... .max) }
    private(set) var files: [[UInt8]] = [[]]
    private(set) var checkpoints: [AuditCheckpoint] = []
    private var sequence: UInt64 = 0
    private var hashes = [AuditChain.origin]

    init() { event("log-begins", #""log":"\#(hexadecimal(log))""#) }

    var bytes: [UInt8] { files.flatMap { $0 } }
    /// As the anchor's file holds it.
    var anchor: String { (checkpoints.last?.text ?? "") + "\n" }

    mutating func append(_ members: String, time: String? = nil) {
        sequence += 1
        let time = time ?? AuditTime(microseconds: 1_795_248_930_000_000 + Int64(sequence) * 1_000_000).description
        let content = Array(#"{"time":"\#(time)","sequence":\#(sequence),\#(members)"#.utf8)
        let hash = AuditChain.hash(after: hashes[hashes.count - 1], content)
        hashes.append(hash)
        files[files.count - 1] += content + Array(#","hash":"\#(hexadecimal(hash))"}"#.utf8) + [0x0A]
    }

    mutating func event(_ name: String, _ members: String) { append(#""event":"\#(name)",\#(members)"#) }

    mutating func decision(
        _ operation: String = "wrap", user: String = "billing", uid: Int = 1_001, key: String = "payments", tenant: String = "acme",
        decision: String = #""decision":"allowed","rule":"custody.toml:9""#, more: String = "", time: String? = nil
    ) {
        append(
            #""operation":"\#(operation)","key":"\#(key)","version":1,"uid":\#(uid),"user":"\#(user)","gids":[\#(uid)],"pid":7,"connection":1,"request":\#(sequence),"item":0,"context":{"region":"eu","tenant":"\#(tenant)"}\#(more),\#(decision),"latency_us":99"#,
            time: time)
    }

    /// Covers all lines so far.
    mutating func checkpoint(_ key: AuditKey, _ session: borrowing Session) throws {
        try checkpoint(key.id) { message in try key.mac(of: message, session) }
    }

    mutating func checkpoint(_ id: KeyID, _ authenticate: ([UInt8]) throws -> [UInt8]) rethrows {
        let hash = hashes[Int(sequence)]
        let mac = try authenticate(AuditCheckpoint.message(log: log, sequence: sequence, hash: hash, keyID: id.bytes))
        checkpoints.append(AuditCheckpoint(log: log, sequence: sequence, hash: hash, keyID: id.bytes, mac: mac))
        event(
            "checkpoint",
            #""covers":\#(sequence),"covered_hash":"\#(hexadecimal(hash))","key_id":"\#(id)","mac":"\#(hexadecimal(mac))""#)
    }

    mutating func rotate() {
        files.append([])
        event("log-continues", #""log":"\#(hexadecimal(log))","previous":"\#(hexadecimal(hashes[hashes.count - 1]))""#)
    }

    /// Three files with a checkpoint each, and one line in the window.
    static func sample(on token: SoftHSMToken) async throws -> AuditFixture {
        try await SoftHSM.withSession(on: token) { session in
            guard let key = try AuditKey.find(session) else { throw Unexpected(description: "the token has no audit key") }
            var log = AuditFixture()
            for file in 0..<3 {
                if file > 0 { log.rotate() }
                for _ in 0..<3 { log.decision() }
                try log.checkpoint(key, session)
            }
            log.decision()
            return log
        }
    }
}

extension Installation {
    /// A token with an audit key, a log of three files in the configuration's place, and its anchor in the state directory.
    static func withAuditLog() async throws -> (Installation, AuditFixture) {
        let installation = try await Installation(label: "custody")
        try await installation.ok("audit", "init")
        let log = try await AuditFixture.sample(on: installation.token)
        try installation.write(log)
        return (installation, log)
    }

    func write(_ log: AuditFixture) throws {
        // The names sort in another order than the lines.
        for (name, bytes) in zip(["audit.jsonl.2", "audit.jsonl-1", "audit.jsonl"], log.files) { try directory.write(name, bytes) }
        try? FileManager.default.createDirectory(atPath: directory.file("state"), withIntermediateDirectories: true)
        try directory.write("state/audit-anchor", log.anchor)
    }
}
