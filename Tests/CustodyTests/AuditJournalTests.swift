import Foundation
import TestSupport
import Testing

@testable import Custody

/// Lines that go to the systemd journal as well.
@Suite struct AuditJournalTests {
    private let place: AuditPlace
    private let socket: String

    init() throws {
        place = try AuditPlace()
        socket = place.directory.file("journal")
    }

    private var settings: AuditSettings {
        var settings = place.settings()
        settings.journal = true
        settings.journalSocket = socket
        return settings
    }

    @Test func everyLineArrivesOnce() throws {
        let journal = try JournalDouble(socket)
        let log = try AuditLog(settings)
        try log.append([.example(), .example()])
        // Too long for a datagram.
        try log.append([.example(context: .longestInLog, onBehalfOf: .longestInLog)])
        let entries = try (0..<4).map { _ in try journal.receive() }
        #expect(entries.map { $0["CUSTODY_SEQUENCE"] } == ["1", "2", "3", "4"])
        #expect(Set(entries.map { $0["SYSLOG_IDENTIFIER"] }) == ["custody-audit"])
        #expect(entries.allSatisfy { $0["PRIORITY"] == "6" })
        let trail = AuditTrail(bytes: entries.flatMap { Array(($0["MESSAGE"] ?? "").utf8) + [0x0A] })
        #expect(trail.breaks == [])
        #expect(try trail.rawLines == place.trail().rawLines)
    }

    @Test func aJournalThatIsAwayStopsEverythingAndMissesNothing() async throws {
        var journal: JournalDouble? = try JournalDouble(socket)
        let log = try AuditLog(settings)
        try log.append([.example()])
        var entries = try (0..<2).map { _ in try #require(try journal?.receive()) }
        journal = nil
        let error = try expectError(.auditUnavailable) { () throws(CustodyError) in try log.append([.example(), .example()]) }
        #expect(error.cause?.contains(socket) == true)
        #expect(!log.isWritable)
        for _ in 0..<3 { try expectError(.auditUnavailable) { () throws(CustodyError) in try log.append([.example()]) } }
        let again = try JournalDouble(socket)
        try await eventually("it to be writable again") { log.isWritable }
        try log.append([.example()])
        while entries.last?["CUSTODY_SEQUENCE"] != "\(log.report.sequence)" { entries.append(try again.receive()) }
        let trail = AuditTrail(bytes: entries.flatMap { Array(($0["MESSAGE"] ?? "").utf8) + [0x0A] })
        #expect(trail.breaks == [])
        #expect(try trail.rawLines == place.trail().rawLines)
        #expect(try place.trail().breaks == [])
    }

    @Test func withoutAJournalItStartsAndRefuses() throws {
        let log = try AuditLog(settings)
        #expect(!log.isWritable)
        try expectError(.auditUnavailable) { () throws(CustodyError) in try log.append([.example()]) }
        let journal = try JournalDouble(socket)
        try log.append([.example()])
        #expect(try journal.receive()["CUSTODY_SEQUENCE"] == "1")
    }
}
