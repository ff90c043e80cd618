import Foundation
import TestSupport
import Testing

@testable import Custody

/// What stands in a line, and what happens where none can be written.
@Suite struct AuditLogTests {
    private let place: AuditPlace

    init() throws { place = try AuditPlace() }

    @Test func linesAreObjectsInSequence() throws {
        let log = try place.open()
        try log.append([])
        try log.append([.example(), .example()])
        try log.append([.example()])
        let trail = try place.trail()
        #expect(trail.breaks == [])
        #expect(trail.lines.map { $0["sequence"] as? Int } == [1, 2, 3, 4])
        #expect(trail.events == ["log-begins"])
        #expect(trail.log.count == 16)
        let first = try #require(trail.decisions.first)
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
        #expect(log.report.sequence == 4)
        #expect(log.report.failure == nil)
    }

    @Test func outcomesAreTold() throws {
        let error = CustodyError(.decryptionFailed, "for the caller", cause: "for the log")
        try place.open().append([
            .example(.denied(reason: "no grant")), .example(.failed(rule: "r", error)), .example(.failed(rule: nil, error)),
        ])
        let lines = try place.trail().decisions
        #expect(lines.map { $0["decision"] as? String } == ["denied", "allowed", "rejected"])
        #expect(lines.map { $0["reason"] as? String } == ["no grant", "for the log", "for the log"])
        #expect(lines.map { $0["error"] as? String } == [nil, "decryption-failed", "decryption-failed"])
        #expect(lines.map { $0["rule"] as? String } == [nil, "r", nil])
    }

    @Test func nothingBreaksOutOfItsString() throws {
        let nasty = "a\"b\\c\n\r\t\u{0}\u{1B}[31m\u{7F}\u{2028}é\u{1F511}\",\"uid\":0,\"x\":\""
        try place.open().append([.example(.denied(reason: nasty), context: try EncryptionContext([nasty: nasty]))])
        let trail = try place.trail()
        #expect(trail.breaks == [])
        let line = try #require(trail.decisions.first)
        #expect(line["reason"] as? String == nasty)
        #expect(line["context"] as? [String: String] == [nasty: nasty])
        #expect(line["uid"] as? Int == 1_000)
        #expect(trail.rawLines.allSatisfy { $0.dropLast().allSatisfy { $0 >= 0x20 && $0 != 0x7F } })
    }

    @Test func aChangedByteShows() throws {
        try place.write(3)
        var bytes = Array(try Data(contentsOf: URL(fileURLWithPath: place.path)))
        let position = try #require(bytes.indices.first { bytes[$0...].starts(with: Array("\"pid\":4711".utf8)) })
        bytes[position + 6] = UInt8(ascii: "5")
        #expect(AuditTrail(bytes: bytes).breaks.count == 1)
    }

    @Test func createsItForItsOwnerAlone() throws {
        try place.write(1)
        for (path, mode) in [(place.path, 0o600), (place.stateDirectory, 0o700)] {
            let attributes = try FileManager.default.attributesOfItem(atPath: path)
            #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == mode)
        }
    }

    @Test func placeThatCannotBeWrittenIsNamed() throws {
        var settings = place.settings()
        settings.file = place.directory.file("missing/audit.jsonl")
        let error = try expectError(.auditUnavailable) { () throws(CustodyError) in try AuditLog(settings) }
        #expect(error.message.contains(settings.file))
        // A link would let its maker choose which file grows.
        settings.file = place.directory.file("link")
        try FileManager.default.createSymbolicLink(atPath: settings.file, withDestinationPath: place.directory.file("target"))
        try expectError(.auditUnavailable) { () throws(CustodyError) in try AuditLog(settings) }
        // A pipe keeps no line, and one nobody reads from must not hold the daemon up.
        settings.file = place.directory.file("pipe")
        try #require(mkfifo(settings.file, 0o600) == 0)
        let pipe = try expectError(.auditUnavailable) { () throws(CustodyError) in try AuditLog(settings) }
        #expect(pipe.message.contains("neither a regular file nor a character device"))
        settings = place.settings()
        settings.stateDirectory = "/nonexistent/state"
        let stateError = try expectError(.auditUnavailable) { () throws(CustodyError) in try AuditLog(settings) }
        #expect(stateError.message.contains("/nonexistent/state"))
    }

    @Test func twoDaemonsDoNotShareAFile() throws {
        let log = try place.open()
        let error = try expectError(.auditUnavailable) { () throws(CustodyError) in try AuditLog(place.settings()) }
        #expect(error.message.contains("another daemon writes the audit log"))
        try log.append([.example()])
        log.close()
        try expectError(.auditUnavailable) { () throws(CustodyError) in try log.append([.example()]) }
        try place.open().close()
    }

    @Test func fullDiskIsAuditUnavailable() throws {
        var settings = place.settings()
        settings.file = "/dev/full"
        // The daemon starts all the same: the disk may have room later.
        let log = try AuditLog(settings)
        #expect(!log.isWritable)
        let error = try expectError(.auditUnavailable) { () throws(CustodyError) in try log.append([.example()]) }
        #expect(error.cause == "/dev/full: No space left on device")
        #expect(error.retryAfterMilliseconds != nil)
        #expect(log.report.failure == error.cause)
    }

    /// The limit on a file's size stands for a full disk. It holds for the whole process, so it is set where no other
    /// file reaches.
    @Test func halfALineIsCutOffAgain() throws {
        let limit = 1 << 40
        let before = limit - 100
        let file = try AuditFile(place.path)
        try #require(truncate(place.path, off_t(before)) == 0)
        signal(SIGXFSZ, SIG_IGN)
        var old = rlimit()
        try #require(getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &old) == 0)
        var new = rlimit(rlim_cur: rlim_t(limit), rlim_max: old.rlim_max)
        try #require(setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &new) == 0)
        defer { setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &old) }
        let failure = #expect(throws: AuditFile.WriteFailure.self) { try file.append([UInt8](repeating: 1, count: 200)) }
        #expect(failure?.isTorn == false)
        #expect(try file.look().size == before)
        try file.append([UInt8](repeating: 1, count: 100))
        #expect(try file.look().size == limit)
    }
}
