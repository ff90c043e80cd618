import Foundation
import TestSupport
import Testing

@testable import Custody

/// What others do to the file while the daemon writes to it.
@Suite struct AuditRotationTests {
    private let place: AuditPlace

    init() throws { place = try AuditPlace() }

    @Test func aRenamedFileIsFollowedByANewOne() throws {
        let log = try place.open()
        try log.append([.example()])
        try FileManager.default.moveItem(atPath: place.path, toPath: place.directory.file("audit.jsonl.1"))
        try log.append([.example()])
        let trail = try place.trail("audit.jsonl.1")
        #expect(trail.breaks == [])
        #expect(trail.events == ["log-begins", "log-continues"])
        #expect(try place.trail().events == ["log-continues"], "at the top of the new file")
        // One that logrotate's `create` made already.
        try FileManager.default.moveItem(atPath: place.path, toPath: place.directory.file("audit.jsonl.2"))
        try place.directory.write("audit.jsonl", "")
        try log.append([.example()])
        #expect(try place.trail("audit.jsonl.1", "audit.jsonl.2").breaks == [])
    }

    @Test func rotationUnderLoadLosesNoLine() async throws {
        let log = try place.open(.interval(.milliseconds(5)))
        let path = place.path
        let writers = (0..<3).map { _ in
            Task { () throws -> Int in
                var written = 0
                while !Task.isCancelled {
                    try log.append([.example(), .example()])
                    written += 2
                    await Task.yield()
                }
                return written
            }
        }
        var names: [String] = []
        for number in 0..<40 {
            let before = log.report.sequence
            try await eventually("more lines") { log.report.sequence > before + 20 }
            names.append("audit.jsonl-\(number)")
            try FileManager.default.moveItem(atPath: path, toPath: place.directory.file("audit.jsonl-\(number)"))
            // Now and then somebody else makes the new file, if he comes first.
            let made = number.isMultiple(of: 2) ? open(path, O_WRONLY | O_CREAT, 0o600) : -1
            if made >= 0 { close(made) }
            try await eventually("the new file") { (AuditFile.look(at: path)?.size ?? 0) > 0 }
        }
        for writer in writers { writer.cancel() }
        var written = 0
        for writer in writers { written += try await writer.value }
        let trail = try AuditTrail((names + ["audit.jsonl"]).map { place.directory.file($0) })
        #expect(trail.breaks == [])
        #expect(trail.decisions.count == written)
        #expect(trail.events.count == 41)
    }

    @Test func copytruncateGoesOnAtTheTop() throws {
        let log = try place.open()
        try log.append([.example()])
        for number in 1...3 {
            try FileManager.default.copyItem(atPath: place.path, toPath: place.directory.file("audit.jsonl.\(number)"))
            try #require(truncate(place.path, 0) == 0)
            try log.append([.example()])
            #expect(try place.trail().events == ["log-continues"])
        }
        let trail = try place.trail("audit.jsonl.1", "audit.jsonl.2", "audit.jsonl.3")
        #expect(trail.breaks == [])
        #expect(trail.decisions.count == 4)
    }

    @Test func aDeletedFileIsMadeAnew() throws {
        let log = try place.open()
        try log.append([.example()])
        try FileManager.default.removeItem(atPath: place.path)
        try log.append([.example()])
        let trail = try place.trail()
        #expect(trail.events == ["log-continues"])
        #expect(trail.decisions.count == 1)
        #expect(trail.lines.first?["sequence"] as? Int == 3)
    }

    @Test func whatSomebodyElseWroteIsNotTakenForItsOwn() throws {
        let log = try place.open()
        try log.append([.example()])
        let handle = try #require(FileHandle(forWritingAtPath: place.path))
        try handle.seekToEnd()
        try handle.write(contentsOf: Array("{\"foreign\":1}\nhalf".utf8))
        try log.append([.example()])
        let trail = try place.trail()
        #expect(trail.breaks == ["no line: {\"foreign\":1}\n"], "and nothing else")
        #expect(trail.events == ["log-begins", "log-continues"])
        #expect(trail.events(named: "log-continues").first?["torn_bytes"] as? Int == 4)
    }

    @Test func aFolderInItsPlaceFailsUntilItGoes() async throws {
        let log = try place.open()
        try log.append([.example()])
        let aside = place.directory.file("audit.jsonl.1")
        try FileManager.default.moveItem(atPath: place.path, toPath: aside)
        try FileManager.default.createDirectory(atPath: place.path, withIntermediateDirectories: false)
        let error = try expectError(.auditUnavailable) { () throws(CustodyError) in try log.append([.example()]) }
        #expect(error.cause == "\(place.path): Is a directory")
        #expect(!log.isWritable)
        #expect(log.report.failure == error.cause)
        try FileManager.default.removeItem(atPath: place.path)
        // Nobody asks for anything: it finds out by itself.
        try await eventually("it to be writable again") { log.isWritable }
        let trail = try place.trail("audit.jsonl.1")
        #expect(trail.breaks == [])
        #expect(trail.events == ["log-begins", "log-continues", "log-writable-again"])
        let event = try #require(trail.events(named: "log-writable-again").first)
        #expect(event["reason"] as? String == error.cause)
        #expect(event["failed_for_ms"] is Int)
        #expect(log.report.failure == nil)
    }

    @Test func aFolderThatIsGoneFailsUntilItIsBack() throws {
        let folder = place.directory.file("logs")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        var settings = place.settings(.fsync)
        settings.file = folder + "/audit.jsonl"
        let log = try AuditLog(settings)
        try log.append([.example()])
        try FileManager.default.moveItem(atPath: folder, toPath: folder + ".away")
        let error = try expectError(.auditUnavailable) { () throws(CustodyError) in try log.append([.example()]) }
        #expect(error.cause?.hasSuffix("No such file or directory") == true)
        try FileManager.default.moveItem(atPath: folder + ".away", toPath: folder)
        try log.append([.example()])
        let trail = try AuditTrail([settings.file])
        #expect(trail.breaks == [])
        #expect(trail.decisions.count == 2)
    }
}
