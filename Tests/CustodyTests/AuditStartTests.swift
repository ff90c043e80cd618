import Foundation
import TestSupport
import Testing

@testable import Custody

/// How the log goes on when the daemon starts.
@Suite struct AuditStartTests {
    private let place: AuditPlace

    init() throws { place = try AuditPlace() }

    @Test func aRestartGoesOn() throws {
        for _ in 0..<3 { try place.write(2) }
        let trail = try place.trail()
        #expect(trail.breaks == [])
        #expect(trail.lines.count == 9)
        #expect(trail.events == ["log-begins", "log-continues", "log-continues"])
        #expect(Set(trail.lines.compactMap { $0["log"] as? String }).count == 1)
    }

    @Test(arguments: [1, 200, 70_000]) func aTornLastLineIsCutOffAndTold(_ torn: Int) throws {
        try place.write(2)
        let handle = try #require(FileHandle(forWritingAtPath: place.path))
        try handle.seekToEnd()
        try handle.write(contentsOf: Array("{\"time\":\"".utf8).prefix(torn) + [UInt8](repeating: 0x61, count: max(0, torn - 9)))
        try handle.close()
        try place.write(1)
        let trail = try place.trail()
        #expect(trail.breaks == [])
        #expect(trail.events(named: "log-continues").first?["torn_bytes"] as? Int == torn)
        #expect(trail.decisions.count == 3)
    }

    @Test func longLinesAreReadBack() throws {
        let log = try place.open()
        try log.append([.example(context: .longestInLog, onBehalfOf: .longestInLog)])
        log.close()
        try place.write(1)
        #expect(try place.trail().breaks == [])
        #expect(try place.trail().decisions.count == 2)
    }

    @Test(arguments: ["audit.jsonl.1", "audit.jsonl-20261121"])
    func aFileThatWasRotatedWhileItWasDownIsFound(_ name: String) throws {
        try place.write(3)
        // An older one that does not go as far, and a compressed one.
        try place.directory.write("audit.jsonl.2", try Data(contentsOf: URL(fileURLWithPath: place.path)).prefix(1))
        try place.directory.write("audit.jsonl.3.gz", [0x1F, 0x8B, 8, 0, 0, 0x0A, 1])
        try FileManager.default.moveItem(atPath: place.path, toPath: place.directory.file(name))
        try place.write(1)
        let trail = try place.trail(name)
        #expect(trail.breaks == [])
        #expect(trail.events == ["log-begins", "log-continues"])
    }

    @Test func copytruncateWhileItWasDown() throws {
        try place.write(3)
        try FileManager.default.copyItem(atPath: place.path, toPath: place.directory.file("audit.jsonl.1"))
        try #require(truncate(place.path, 0) == 0)
        try place.write(1)
        #expect(try place.trail("audit.jsonl.1").breaks == [])
    }

    @Test func anAnchorThatTheLogReachesIsNoNews() throws {
        try place.write(3)
        try place.anchor(4, log: place.trail().log, hash: place.trail().hash(ofLine: 4))
        try place.write(1)
        #expect(try place.trail().breaks == [])
        #expect(try place.trail().events == ["log-begins", "log-continues"])
    }

    @Test func aTailBehindTheAnchorIsToldAndDoesNotStopIt() throws {
        try place.write(5)
        let log = try place.trail().log
        try place.anchor(6, log: log)
        let whole = try place.trail().rawLines
        try place.directory.write("audit.jsonl", whole.prefix(4).flatMap { $0 })
        try place.write(1)
        let trail = try place.trail()
        let event = try #require(trail.events(named: "log-resumes").first)
        #expect(event["sequence"] as? Int == 7)
        #expect(event["missing_from"] as? Int == 5)
        #expect(event["missing_to"] as? Int == 6)
        #expect(event["log"] as? String == trail.lines.first?["log"] as? String)
        #expect(trail.breaks == ["7 follows 4"], "the chain itself goes on from the tail that is there")
        #expect(trail.lines.last?["sequence"] as? Int == 8)
    }

    /// Far enough, and its chain holds: but the token vouched for another line.
    @Test(arguments: ["audit.jsonl", "audit.jsonl.1"]) func aForgedLogIsToldOf(_ name: String) throws {
        try place.write(5)
        let trail = try place.trail()
        try place.anchor(4, log: trail.log, hash: trail.hash(ofLine: 4))
        try FileManager.default.removeItem(atPath: place.path)
        try place.directory.write(name, trail.forged(line: 3, "\"root\"", "\"evil\""))
        try place.write(1)
        let found = try name == "audit.jsonl" ? place.trail() : place.trail(name)
        #expect(found.breaks == [], "its chain was computed anew")
        let event = try #require(found.events(named: "log-resumes").first)
        #expect(event["missing_from"] as? Int == 4)
        #expect((event["reason"] as? String)?.contains("made anew") == true)
    }

    /// The forger keeps the forged part aside until the daemon has gone on from what it says.
    @Test func anAnchorThatNoFileReachesIsToldOf() throws {
        try place.write(5)
        let trail = try place.trail()
        try place.anchor(4, log: trail.log, hash: trail.hash(ofLine: 4))
        let forged = AuditTrail(bytes: try trail.forged(line: 3, "\"root\"", "\"evil\""))
        let log = try AuditPlace()
        try log.directory.write("audit.jsonl", forged.rawLines.flatMap { $0 })
        try log.write(1)
        // Only the line that says what it goes on from.
        try place.directory.write("audit.jsonl", try log.trail().rawLines[6...].flatMap { $0 })
        try place.write(1)
        #expect(try place.trail().events(named: "log-resumes").count == 1)
    }

    @Test func aDecoyBesideTheLogIsNone() throws {
        try place.write(5)
        let trail = try place.trail()
        try place.anchor(4, log: trail.log, hash: trail.hash(ofLine: 4))
        try FileManager.default.moveItem(atPath: place.path, toPath: place.path + "X")
        try place.directory.write("audit.jsonl", trail.forged(line: 3, "\"root\"", "\"evil\""))
        try place.write(1)
        #expect(try place.trail().events(named: "log-resumes").count == 1)
    }

    /// What stands behind the anchored line must be chained to it.
    @Test(arguments: [5, 6]) func aChainThatIsBrokenBehindTheAnchorIsToldOf(_ line: Int) throws {
        try place.write(6)
        let trail = try place.trail()
        try place.anchor(4, log: trail.log, hash: trail.hash(ofLine: 4))
        var lines = trail.rawLines
        lines.remove(at: line - 1)
        try place.directory.write("audit.jsonl", lines.flatMap { $0 })
        try place.write(1)
        #expect(try place.trail().events(named: "log-resumes").count == 1)
    }

    @Test func theAnchorIsFoundOverRotations() throws {
        try place.write(3)
        try place.anchor(3, log: place.trail().log, hash: place.trail().hash(ofLine: 3))
        for number in [3, 2, 1] {
            try FileManager.default.moveItem(atPath: place.path, toPath: place.directory.file("audit.jsonl.\(number)"))
            try place.write(1)
        }
        let trail = try place.trail("audit.jsonl.3", "audit.jsonl.2", "audit.jsonl.1")
        #expect(trail.breaks == [])
        #expect(trail.events == ["log-begins", "log-continues", "log-continues", "log-continues"])
    }

    @Test(arguments: [.max, 1 << 63, (1 << 62) + 1] as [UInt64]) func numbersThatNoDaemonWroteStopNothing(_ number: UInt64) throws {
        try place.write(2)
        let last = try #require(try place.trail().rawLines.last)
        let text = String(decoding: last, as: UTF8.self).replacing("\"sequence\":3", with: "\"sequence\":\(number)")
        try place.directory.write("audit.jsonl", try place.trail().rawLines.dropLast().flatMap { $0 } + Array(text.utf8))
        try place.write(1)
        let good = try place.trail().log
        try place.directory.write("state/audit-anchor", AuditCheckpoint(
            log: good, sequence: number, hash: AuditChain.origin, keyID: [UInt8](repeating: 1, count: 16), mac: AuditChain.origin).text + "\n")
        try place.write(1)
    }

    @Test func aVanishedLogGoesOnAfterTheAnchor() throws {
        try place.write(2)
        let log = try place.trail().log
        try place.anchor(3, log: log)
        try FileManager.default.removeItem(atPath: place.path)
        try place.write(1)
        let trail = try place.trail()
        #expect(trail.events == ["log-resumes"])
        #expect(trail.log == log)
        #expect(trail.breaks == ["4 follows 0"])
        #expect(trail.lines.first?["missing_from"] as? Int == 1)
        #expect(trail.lines.first?["previous"] as? String == String(repeating: "0", count: 64))
    }

    @Test func anotherLogInItsPlaceIsTold() throws {
        try place.write(2)
        try place.anchor(50, log: [UInt8](repeating: 9, count: 16))
        try place.write(1)
        let event = try #require(try place.trail().events(named: "log-resumes").first)
        #expect(event["sequence"] as? Int == 51)
        #expect((event["reason"] as? String)?.contains(String(repeating: "09", count: 16)) == true)
    }

    /// Such as the log of an earlier release, whose lines had no hashes.
    @Test func linesOfAnotherKindAreNotTakenForOurs() throws {
        try place.directory.write("audit.jsonl", "{\"sequence\":1}\n{\"sequence\":2}\nhalf")
        try place.write(1)
        let event = try #require(try place.trail().events(named: "log-resumes").first)
        #expect(event["sequence"] as? Int == 3)
        #expect(event["torn_bytes"] as? Int == 4)
        #expect(event["missing_to"] as? Int == 2)
        // And it is known again at the next start.
        try place.write(1)
        #expect(try place.trail().events == ["log-resumes", "log-continues"])
        #expect(Set(try place.trail().lines.compactMap { $0["log"] as? String }).count == 1)
    }

    @Test func aSpoiltAnchorDoesNotStopIt() throws {
        try place.write(1)
        try place.directory.write("state/audit-anchor", "spoilt\n")
        try place.write(1)
        #expect(try place.trail().breaks == [])
    }
}
