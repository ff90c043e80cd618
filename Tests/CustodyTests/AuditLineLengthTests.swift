import Foundation
import TestSupport
import Testing

@testable import Custody

/// A line has a bound that the writer and every reader share, whatever a caller brings along or a token is full of.
@Suite struct AuditLineLengthTests {
    private let place: AuditPlace

    init() throws { place = try AuditPlace() }

    private static let long = String(repeating: "\u{1}", count: 1 << 20)

    private func check(_ name: String, _ write: (AuditLog) throws -> Void) throws -> [UInt8] {
        let log = try place.open()
        try write(log)
        log.close()
        let trail = try place.trail()
        #expect(trail.breaks == [], "\(name)")
        let line = try #require(trail.rawLines.max { $0.count < $1.count })
        #expect(line.count < AuditLine.longest, "\(name)")
        // What reads the log takes it for a line, and goes on from it.
        #expect(AuditLine(line[...]) != nil, "\(name)")
        try place.open().close()
        #expect(try place.trail().breaks == [], "\(name)")
        return Array(line)
    }

    @Test func theLongestDecision() throws {
        let groups = (0..<65_536).map { UInt32(4_000_000_000) + $0 }
        let principal = Principal(uid: .max, gids: groups, pid: .max, user: Self.long, group: Self.long)
        var record = AuditRecord.example(
            .failed(rule: Self.long, CustodyError(.internalError, Self.long)), context: .longestInLog, onBehalfOf: .longestInLog)
        record.principal = principal
        let line = try check("decision") { try $0.append([record]) }
        let text = String(decoding: line, as: UTF8.self)
        #expect(text.contains("\"gids_left_out\":\(65_536 - AuditLine.mostGroups)"))
        // What the caller gave for its own purposes is whole.
        #expect(text.contains("\"on_behalf_of\":{\"\\u0001"))
    }

    @Test func theLongestEvent() throws {
        _ = try check("event") { log in
            try log.note(AuditEvent(Self.long, (0..<12).map { ("field-\($0)", .text(Self.long)) }))
        }
    }

    @Test(arguments: ["", "a", String(repeating: "a", count: AuditLine.longestText), String(repeating: "é", count: 2_048)])
    func whatIsShortIsRepeatedWhole(_ text: String) { #expect(AuditLine.cut(text) == text) }

    /// A text is cut between characters, so that the line stays UTF-8.
    @Test(arguments: 0..<4)
    func whatIsLongIsCutBetweenCharacters(_ shift: Int) {
        let cut = AuditLine.cut(String(repeating: "a", count: shift) + String(repeating: "\u{1F511}", count: 2_000))
        #expect(cut.hasSuffix("\u{1F511}…"))
        #expect(cut.utf8.count <= AuditLine.longestText + "…".utf8.count)
    }
}
