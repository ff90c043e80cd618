import ByteEncoding
import Foundation
import Logging
import PKCS11
import TestSupport
import Testing

@testable import Custody

/// Checkpoints and anchors, with a real token.
@Suite struct NotaryTests {
    /// A log and its notary over a token.
    private struct Office {
        let place: AuditPlace
        let audit: AuditLog
        let connection: TokenConnection
        let notary: Notary

        init(
            _ token: SoftHSMToken, _ place: AuditPlace, module: String? = nil, _ change: (inout AuditSettings) -> Void
        ) throws {
            self.place = place
            var settings = place.settings()
            change(&settings)
            let log = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
            audit = try AuditLog(settings)
            connection = TokenConnection(
                TokenSettings(module: module ?? token.modulePath, uri: token.uri, pin: PINSource(path: token.pinFile)),
                catalog: KeyCatalog(), lookInterval: .seconds(3_600), log: log)
            notary = Notary(audit: audit, connection: connection, settings: settings, log: log)
            connection.start()
            notary.start()
        }

        func close() {
            notary.stop()
            _ = connection.close()
            audit.close()
        }

        /// Waits for a checkpoint over this line at least.
        func checkpoint(over line: UInt64) async throws {
            try await eventually("a checkpoint over line \(line)") { (audit.report.checkpoint?.sequence ?? 0) >= line }
        }
    }

    private let slow: (inout AuditSettings) -> Void = { $0.checkpointInterval = .seconds(3_600) }

    private func makeAuditKey(_ session: borrowing Session) throws { _ = try AuditKeyProvisioner.make(session) }

    /// What somebody makes who has no PIN: an audit key by its label, of a known value and the highest number.
    private func plantAuditKey(_ session: borrowing Session) throws -> KeyID {
        let id = KeyID(newFor: .max)
        try session.logout()
        _ = try session.createObject([
            .objectClass(.secretKey), .keyType(.genericSecret), .bool(.token, true), .bool(.isPrivate, false), .bool(.sensitive, true),
            .bool(.extractable, false), .bool(.sign, true), .bool(.verify, true), .bool(.encrypt, false), .bool(.decrypt, false),
            .bool(.wrap, false), .bool(.unwrap, false), .bool(.derive, false), .label(AuditKey.label), .id(id.bytes),
            .value([UInt8](repeating: 7, count: 32)),
        ])
        try session.login(.user, pin: SoftHSMToken.secret(SoftHSMToken.userPIN))
        return id
    }

    /// The checkpoints of a trail, each checked: it names a line before it as it stands there, and its MAC is the token's.
    private func checkpoints(_ trail: AuditTrail, _ session: borrowing Session) throws -> [Int] {
        let keys = try AuditKey.all(session)
        var covered: [Int] = []
        for event in trail.events(named: "checkpoint") {
            let sequence = try #require(event["covers"] as? Int)
            let line = try #require(trail.lines.firstIndex { $0["sequence"] as? Int == sequence })
            let hash = try #require(trail.lines[line]["hash"] as? String)
            #expect(event["covered_hash"] as? String == hash)
            #expect(try #require(event["sequence"] as? Int) > sequence)
            let key = try #require(keys.first { $0.id.description == event["key_id"] as? String })
            let message = AuditCheckpoint.message(
                log: trail.log, sequence: UInt64(sequence), hash: AuditChain.bytes(lowercaseHexadecimal: Array(hash.utf8)) ?? [],
                keyID: key.id.bytes)
            #expect(try hexadecimal(key.mac(of: message, session)) == event["mac"] as? String)
            covered.append(sequence)
        }
        return covered
    }

    @Test func checkpointsByNumberAndAtTheEndAndBothAnchors() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { try makeAuditKey($0) }
            let place = try AuditPlace()
            let office = try Office(token, place) {
                $0.checkpointInterval = .seconds(3_600)
                $0.checkpointRecords = 10
            }
            defer { office.close() }
            for round in UInt64(1)...3 {
                for _ in 0..<10 { try office.audit.append([.example()]) }
                try await office.checkpoint(over: round * 10)
            }
            try await eventually("the token's anchor") { office.audit.report.anchor == "token and state directory" }
            try office.audit.append([.example()])
            let last = office.audit.report.sequence
            office.close()
            let trail = try place.trail()
            #expect(trail.breaks == [])
            let state = try #require(try StateAnchor(place.stateDirectory).read())
            #expect(state.sequence == last)
            try token.withSession { session in
                let covered = try checkpoints(trail, session)
                #expect(covered.count >= 4)
                #expect(covered == covered.sorted())
                #expect(covered.last == Int(last), "the end is covered")
                #expect(try TokenAnchor.read(session) == [state])
            }
            // The next life of the same log replaces the token's anchor.
            let second = try Office(token, place, slow)
            defer { second.close() }
            try second.audit.append([.example()])
            try await eventually("a ready token") { if case .ready = second.connection.tokenState { true } else { false } }
            second.close()
            #expect(try place.trail().breaks == [])
            #expect(try !place.trail().events.contains("anchor-unmet"))
            try token.withSession { session in
                let anchors = try TokenAnchor.read(session)
                #expect(anchors.count == 1)
                #expect(try anchors.first == StateAnchor(place.stateDirectory).read())
                #expect(anchors.first?.sequence ?? 0 > last)
            }
        }
    }

    @Test func checkpointsByTimeAndNoneWhenIdle() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { try makeAuditKey($0) }
            let place = try AuditPlace()
            let office = try Office(token, place) { $0.checkpointInterval = .milliseconds(20) }
            defer { office.close() }
            try await office.checkpoint(over: 1)
            try office.audit.append([.example()])
            let line = office.audit.report.sequence
            try await office.checkpoint(over: line)
            #expect(office.audit.duty.due == nil, "nothing more is due, and so nothing will be written")
            let size = try place.trail().lines.count
            office.close()
            #expect(try place.trail().lines.count == size)
            let covered = try token.withSession { try checkpoints(place.trail(), $0) }
            #expect(covered.count >= 2)
        }
    }

    @Test func withoutAnAuditKeyItGoesOnAndSaysSo() async throws {
        try await SoftHSM.withToken { token in
            let place = try AuditPlace()
            let office = try Office(token, place) { $0.checkpointInterval = .milliseconds(10) }
            defer { office.close() }
            try await eventually("the failure") {
                office.audit.report.checkpointFailure == "the token has no audit key; `custodyctl audit init` makes one"
            }
            try office.audit.append([.example()])
            #expect(office.audit.report.checkpoint == nil)
            #expect(office.audit.isWritable)
            // It is made behind its back.
            let thread = CallingThread("test")
            let link = try office.connection.acquire(thread)
            do {
                defer { office.connection.release(thread) }
                try makeAuditKey(try link.module.openSession(link.token.slot, readWrite: true))
            }
            try await office.checkpoint(over: 2)
            try await eventually("no failure") { office.audit.report.checkpointFailure == nil }
            office.close()
        }
    }

    /// Who has no PIN makes an object with an audit key's label: no checkpoint is made with it, and none is kept from being made.
    @Test func aPlantedKeyIsNeitherUsedNorInTheWay() async throws {
        try await SoftHSM.withToken { token in
            let (real, planted) = try token.withSession { session in
                try makeAuditKey(session)
                let planted = try plantAuditKey(session)
                let keys = try AuditKeys(session)
                #expect(keys.believed.count == 1)
                #expect(keys.strangers.map(\.id) == [planted.bytes])
                #expect(keys.strangers.first?.reason.contains("CKA_PRIVATE is false") == true)
                return (try #require(keys.newest).id, planted)
            }
            let place = try AuditPlace()
            let office = try Office(token, place) { $0.checkpointInterval = .milliseconds(20) }
            defer { office.close() }
            try office.audit.append([.example()])
            try await office.checkpoint(over: 2)
            // Status names it.
            try await eventually("its name in Status") {
                let remark = office.audit.report.checkpointFailure ?? ""
                return remark.contains(planted.description) && remark.contains("CKA_PRIVATE is false")
            }
            office.close()
            #expect(try Set(place.trail().events(named: "checkpoint").compactMap { $0["key_id"] as? String }) == [real.description])
            // Its number is no one's: the next key is the second.
            let next = try token.withSession { try AuditKeyProvisioner.make($0).key.id.version }
            #expect(next == 2)
        }
    }

    /// With nothing but a planted key there is no audit key.
    @Test func aPlantedKeyAloneIsNone() async throws {
        try await SoftHSM.withToken { token in
            let planted = try token.withSession { try plantAuditKey($0) }
            let place = try AuditPlace()
            let office = try Office(token, place) { $0.checkpointInterval = .milliseconds(10) }
            defer { office.close() }
            try await eventually("the failure") {
                let failure = office.audit.report.checkpointFailure ?? ""
                return failure.contains("the token has no audit key") && failure.contains(planted.description)
            }
            #expect(office.audit.report.checkpoint == nil)
            office.close()
            #expect(try place.trail().events(named: "checkpoint").isEmpty)
        }
    }

    /// An anchor that the audit key did not make says nothing of a log.
    @Test func aForgedAnchorIsNotBelieved() async throws {
        try await SoftHSM.withToken { token in
            let place = try AuditPlace()
            try place.write(3)
            let log = try place.trail().log
            let owner = TokenAnchor.owner(of: place.path)
            try token.withSession { session in
                let key = try AuditKeyProvisioner.make(session).key
                let mac = [UInt8](repeating: 2, count: 32)
                try TokenAnchor.write(
                    AuditCheckpoint(log: log, sequence: 900, hash: [UInt8](repeating: 7, count: 32), keyID: key.id.bytes, mac: mac),
                    owner: owner, session)
                // Without the PIN: not even an anchor.
                try session.logout()
                _ = try session.createObject([
                    .objectClass(.data), .bool(.token, true), .bool(.isPrivate, false), .application(TokenAnchor.application),
                    .label(AuditCheckpoint(log: log, sequence: 901, hash: mac, keyID: key.id.bytes, mac: mac).text), .value(owner),
                ])
                try session.login(.user, pin: SoftHSMToken.secret(SoftHSMToken.userPIN))
                #expect(try TokenAnchor.read(session).map(\.sequence) == [900])
                #expect(try TokenAnchor.planted(session) == 1)
            }
            let office = try Office(token, place) { $0.checkpointInterval = .milliseconds(20) }
            defer { office.close() }
            try office.audit.append([.example()])
            try await office.checkpoint(over: 1)
            office.close()
            #expect(try !place.trail().events.contains("anchor-unmet"))
        }
    }

    @Test func aTokenThatIsAwayStopsNothing() async throws {
        try await SoftHSM.withToken { token in
            let place = try AuditPlace()
            let office = try Office(token, place, module: "/nonexistent/libhsm.so") { $0.checkpointInterval = .milliseconds(10) }
            defer { office.close() }
            try await eventually("the failure") { office.audit.report.checkpointFailure != nil }
            try office.audit.append([.example()])
            office.close()
            #expect(try place.trail().breaks == [])
        }
    }

    /// Log and state directory were rolled back together: the token remembers.
    @Test func theTokensAnchorAheadOfTheLogIsTold() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { try makeAuditKey($0) }
            let place = try AuditPlace()
            let first = try Office(token, place, slow)
            defer { first.close() }
            for _ in 0..<5 { try first.audit.append([.example()]) }
            try await eventually("a ready token") { if case .ready = first.connection.tokenState { true } else { false } }
            first.close()
            let whole = try place.trail().rawLines
            try place.directory.write("audit.jsonl", whole.prefix(2).flatMap { $0 })
            try FileManager.default.removeItem(atPath: place.stateDirectory)
            let second = try Office(token, place, slow)
            defer { second.close() }
            try await eventually("the event") { try place.trail().events.contains("anchor-unmet") }
            second.close()
            let trail = try place.trail()
            #expect(trail.breaks == [], "it is the event that tells")
            #expect(trail.events(named: "anchor-unmet").first?["covers"] as? Int == 6)
        }
    }
}
