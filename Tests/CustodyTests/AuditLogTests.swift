import Foundation
import TestSupport
import Testing

@testable import Custody

@Suite struct AuditLogTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func record(
        _ outcome: AuditRecord.Outcome = .allowed(rule: "custody.toml:1"), key: String? = "root", context: EncryptionContext? = nil
    ) -> AuditRecord {
        AuditRecord(
            operation: .wrap, keyName: key, keyID: nil, principal: .owner, connection: 3, request: 9, item: 1, context: context,
            onBehalfOf: .empty, outcome: outcome, latencyMicroseconds: 12)
    }

    private func lines(_ path: String) throws -> [[String: Any]] {
        let data = try Data(contentsOf: URL(fileURLWithPath: path))
        #expect(data.isEmpty || data.last == 0x0A)
        return try data.split(separator: 0x0A).map { try #require(try JSONSerialization.jsonObject(with: $0) as? [String: Any]) }
    }

    @Test func linesAreObjectsInSequence() throws {
        let path = directory.file("audit.jsonl")
        let log = try AuditLog(AuditSettings(file: path, stateDirectory: path + ".state"))
        try log.append([])
        try log.append([record(), record()])
        try log.append([record()])
        let lines = try lines(path)
        #expect(lines.map { $0["sequence"] as? Int } == [1, 2, 3])
        let first = try #require(lines.first)
        #expect(first["operation"] as? String == "wrap")
        #expect(first["key"] as? String == "root")
        #expect(first["uid"] as? Int == 1_000)
        #expect(first["gids"] as? [Int] == [1_000, 50])
        #expect(first["pid"] as? Int == 4_711)
        #expect(first["connection"] as? Int == 3)
        #expect(first["request"] as? Int == 9)
        #expect(first["item"] as? Int == 1)
        #expect(first["decision"] as? String == "allowed")
        #expect(first["rule"] as? String == "custody.toml:1")
        #expect(first["latency_us"] as? Int == 12)
        #expect(first["on_behalf_of"] == nil)
        let time = try #require(first["time"] as? String)
        #expect(time.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z/) != nil)
        #expect(log.isWritable)
    }

    @Test func outcomesAreTold() throws {
        let path = directory.file("audit.jsonl")
        let error = CustodyError(.decryptionFailed, "for the caller", cause: "for the log")
        try AuditLog(AuditSettings(file: path, stateDirectory: path + ".state")).append([
            record(.denied(reason: "no grant")), record(.failed(rule: "r", error)), record(.failed(rule: nil, error)),
        ])
        let lines = try lines(path)
        #expect(lines.map { $0["decision"] as? String } == ["denied", "allowed", "rejected"])
        #expect(lines.map { $0["reason"] as? String } == ["no grant", "for the log", "for the log"])
        #expect(lines.map { $0["error"] as? String } == [nil, "decryption-failed", "decryption-failed"])
        #expect(lines.map { $0["rule"] as? String } == [nil, "r", nil])
    }

    @Test func nothingBreaksOutOfItsString() throws {
        let path = directory.file("audit.jsonl")
        let nasty = "a\"b\\c\n\r\t\u{0}\u{1B}[31m\u{7F}\u{2028}é\u{1F511}\",\"uid\":0,\"x\":\""
        try AuditLog(AuditSettings(file: path, stateDirectory: path + ".state")).append([record(key: nasty, context: try EncryptionContext([nasty: nasty]))])
        let line = try #require(try lines(path).first)
        #expect(line["key"] as? String == nasty)
        #expect(line["context"] as? [String: String] == [nasty: nasty])
        #expect(line["uid"] as? Int == 1_000)
        let data = try Data(contentsOf: URL(fileURLWithPath: path))
        #expect(data.dropLast().allSatisfy { $0 >= 0x20 && $0 != 0x7F })
    }

    @Test func createsItForItsOwnerAloneAndAppends() throws {
        let path = directory.file("audit.jsonl")
        try AuditLog(AuditSettings(file: path, stateDirectory: path + ".state")).append([record()])
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o600)
        try AuditLog(AuditSettings(file: path, stateDirectory: path + ".state")).append([record()])
        #expect(try lines(path).count == 2)
    }

    @Test func placeThatCannotBeWrittenIsNamed() throws {
        let missing = directory.file("missing/audit.jsonl")
        let error = try expectError(.auditUnavailable) { () throws(CustodyError) in try AuditLog(AuditSettings(file: missing, stateDirectory: missing + ".state")) }
        #expect(error.message.contains(missing))
        // A link would let its maker choose which file grows.
        let link = directory.file("link")
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: directory.file("target"))
        try expectError(.auditUnavailable) { () throws(CustodyError) in try AuditLog(AuditSettings(file: link, stateDirectory: link + ".state")) }
    }

    @Test func fullDiskIsAuditUnavailable() throws {
        let log = try AuditLog(AuditSettings(file: "/dev/full", stateDirectory: "/nonexistent"))
        #expect(log.isWritable)
        let error = try expectError(.auditUnavailable) { () throws(CustodyError) in try log.append([record()]) }
        #expect(!log.isWritable)
        #expect(error.cause?.contains("No space left") == true)
        #expect(error.retryAfterMilliseconds != nil)
    }

    /// The limit on a file's size stands for a full disk. It holds for the whole process, so it is set where no other
    /// file reaches.
    @Test func halfALineIsCutOffAgain() throws {
        let limit = 1 << 40
        let path = try directory.write("audit.jsonl", "")
        let log = try AuditLog(AuditSettings(file: path, stateDirectory: path + ".state"))
        try log.append([record()])
        let before = limit - 100
        try #require(truncate(path, off_t(before)) == 0)
        signal(SIGXFSZ, SIG_IGN)
        var old = rlimit()
        try #require(getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &old) == 0)
        var new = rlimit(rlim_cur: rlim_t(limit), rlim_max: old.rlim_max)
        try #require(setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &new) == 0)
        defer { setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &old) }
        try expectError(.auditUnavailable) { () throws(CustodyError) in try log.append([record(), record()]) }
        #expect(!log.isWritable)
        #expect((try FileManager.default.attributesOfItem(atPath: path)[.size] as? NSNumber)?.intValue == before)
        // With room again it goes on where it stood, and no number is missing.
        try #require(truncate(path, 0) == 0)
        try log.append([record()])
        #expect(log.isWritable)
        #expect(try lines(path).map { $0["sequence"] as? Int } == [2])
    }
}
