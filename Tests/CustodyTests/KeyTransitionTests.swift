import ByteEncoding
import PKCS11
import TestSupport
import Testing

@testable import Custody

/// The states of a version and the ways between them, on the token's own attributes.
@Suite struct KeyTransitionTests {
    private static let day = UTCDay.today.adding(days: 30)
    private static let past = UTCDay.today.adding(days: -1)

    /// What the attributes are before.
    enum Start: CaseIterable {
        case active, deactivated, disabled, scheduled, wrapsOnly
        /// With a date that somebody else set.
        case activeWithDate, deactivatedWithDate

        func make(_ session: borrowing Session) throws -> KeyObject {
            var template = RootKeyTemplate(id: KeyID(newFor: 1).bytes)
            let object = try template.generate(session)
            template.encrypt = [.active, .activeWithDate, .wrapsOnly].contains(self)
            template.decrypt = [.active, .activeWithDate, .deactivated, .deactivatedWithDate].contains(self)
            try session.setAttributes(of: object, [.bool(.encrypt, template.encrypt), .bool(.decrypt, template.decrypt)])
            if [.scheduled, .activeWithDate, .deactivatedWithDate].contains(self) {
                try KeyDates.set(.endDate, past, of: try KeyObject(object, session), session)
            }
            return try KeyObject(object, session)
        }
    }

    /// nil: refused.
    private static func expected(_ start: Start, _ transition: KeyTransition) -> KeyVersion.State? {
        let before: KeyVersion.State =
            switch start {
            case .active, .activeWithDate: .active
            case .deactivated, .deactivatedWithDate: .deactivated
            case .disabled, .wrapsOnly: .disabled
            case .scheduled: .scheduledForDestruction(after: past.description)
            }
        return switch transition {
        case .enable: start == .scheduled ? nil : .active
        case .deactivate: start == .scheduled ? nil : .deactivated
        case .disable: start == .scheduled ? before : .disabled
        case .scheduleDestruction: start == .scheduled ? nil : .scheduledForDestruction(after: day.description)
        case .cancelDestruction: start == .scheduled ? .disabled : before
        }
    }

    @Test func everyWay() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let transitions: [KeyTransition] = [
                    .enable, .deactivate, .disable, .scheduleDestruction(after: Self.day), .cancelDestruction,
                ]
                for start in Start.allCases {
                    for transition in transitions {
                        let key = try start.make(session)
                        guard let expected = Self.expected(start, transition) else {
                            let error = try expectError(.keyNotUsable) { () throws(CustodyError) in
                                try KeyProvisioner.change(key, transition, session)
                            }
                            #expect(error.message.contains("--cancel"), "\(error)")
                            #expect(try KeyObject(key.object, session).attributes == key.attributes, "\(start) \(transition)")
                            continue
                        }
                        let after = try KeyProvisioner.change(key, transition, session)
                        let shown = try KeyObject(key.object, session)
                        #expect(shown.state == expected, "\(start) \(transition)")
                        #expect((after ?? key).attributes == shown.attributes, "it tells what the token shows")
                        if expected == .disabled, after != nil {
                            #expect(shown.attributes.bool(.encrypt) == false && shown.attributes.day(.endDate) == nil, "\(start) \(transition)")
                        }
                        #expect(try KeyProvisioner.change(shown, transition, session) == nil, "\(start) \(transition): done already")
                        try session.destroyObject(key.object)
                    }
                }
            }
        }
    }

    /// A kill between two steps leaves the state before or a disabled version: never more use than was asked for, and never
    /// a version that a timer destroys on a day that nobody confirmed.
    @Test func killedBetweenTheSteps() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                for start in Start.allCases {
                    for transition in [.enable, .deactivate, .disable, .scheduleDestruction(after: Self.day), .cancelDestruction] as [KeyTransition] {
                        let key = try start.make(session)
                        for step in ((try? transition.steps(from: key)) ?? []).dropLast() {
                            try KeyProvisioner.write(step, key, session)
                            let now = try KeyObject(key.object, session)
                            #expect([key.state, .disabled].contains(now.state), "\(start) \(transition): \(now.state)")
                            #expect(!now.isDue(.today), "\(start) \(transition)")
                        }
                        try session.destroyObject(key.object)
                    }
                }
            }
        }
    }

    @Test func aTokenThatRefusesTheChange() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let object = try session.generateKey(
                    .aesKeyGeneration, RootKeyTemplate(id: KeyID(newFor: 1).bytes).attributes + [.valueLength(32), .bool(.modifiable, false)])
                let key = try KeyObject(object, session)
                let error = try expectError(.keyRefused) { () throws(CustodyError) in try KeyProvisioner.change(key, .disable, session) }
                for part in ["does not let", "version 1", "it is active now"] { #expect(error.message.contains(part), "\(error)") }
            }
        }
    }

    /// A disabled key with an end.
    private func make(
        _ session: borrowing Session, _ change: (inout RootKeyTemplate) -> Void, _ day: UTCDay = past, _ more: [Attribute] = [],
        id: [UInt8] = KeyID(newFor: 1).bytes
    ) throws -> KeyObject {
        var template = RootKeyTemplate(id: id)
        (template.encrypt, template.decrypt) = (false, false)
        change(&template)
        let object = try template.generate(session)
        if !more.isEmpty { try session.setAttributes(of: object, more) }
        try KeyDates.set(.endDate, day, of: try KeyObject(object, session), session)
        return try KeyObject(object, session)
    }

    @Test func onlyWhatIsScheduledAndARootKeyIsDue() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                #expect(try make(session, { _ in }).isDue(.today))
                #expect(try !make(session, { _ in }, .today).isDue(.today), "its day is not over")
                #expect(try !make(session, { _ in }, Self.day).isDue(.today))
                #expect(try !make(session, { $0.encrypt = true }).isDue(.today))
                #expect(try !make(session, { $0.decrypt = true }).isDue(.today))
                #expect(try !make(session, { $0.wrap = true }).isDue(.today), "a stranger's key that wraps others")
                #expect(try !make(session, { $0.extractable = true }).isDue(.today))
                #expect(try !make(session, { _ in }, Self.past, [.bool(.sign, true)]).isDue(.today))
                #expect(try !make(session, { _ in }, id: [1, 2, 3]).isDue(.today))

                // What changed since it was found is not destroyed.
                let due = try make(session, { _ in })
                try KeyDates.set(.endDate, nil, of: due, session)
                var waited = WaitingRecord()
                let id = try #require(due.id)
                waited.see([id: Self.past], elapsed: .zero, today: .today)
                #expect(try !KeyProvisioner.destroyIfDue(due, today: .today, waited, session))
                try KeyDates.set(.endDate, Self.past, of: due, session)
                #expect(try !KeyProvisioner.destroyIfDue(due, today: .today, waited, session), "it has not waited")
                #expect(try !KeyProvisioner.destroyIfDue(due, today: .today, WaitingRecord(), session), "nobody has seen it wait")
                waited.see([id: Self.past], elapsed: .seconds(7 * 86_400), today: .today)
                #expect(try KeyProvisioner.destroyIfDue(due, today: .today, waited, session))
                #expect(try !KeyProvisioner.destroyIfDue(due, today: .today, waited, session), "it is gone")
            }
        }
    }

    /// SoftHSM can't give back such a date, and fails for all attributes that are asked for with it.
    @Test func aDateThatCanNotBeReadHidesNoKey() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let id = KeyID(newFor: 1)
                let object = try RootKeyTemplate(id: id.bytes).generate(session)
                try session.setAttributes(of: object, [.date(.endDate, Self.past)])
                let catalog = KeyCatalog()
                try catalog.refresh(session)
                #expect(catalog.ring.version(id)?.state == .active)
                let off = try #require(try KeyProvisioner.change(try KeyObject(object, session), .disable, session))
                #expect(!off.isDue(.today))
                let scheduled = try #require(try KeyProvisioner.change(off, .scheduleDestruction(after: Self.day), session))
                #expect(scheduled.state == .scheduledForDestruction(after: Self.day.description))
                try KeyProvisioner.destroy(scheduled, session)
                #expect(try session.objects(.data).isEmpty, "the note goes with the key")
            }
        }
    }

    /// Whoever has no PIN can make a public object with any label, and must not be able to have a key destroyed by it.
    @Test func aPublicNoteSchedulesNothing() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let key = try Start.disabled.make(session)
                try session.logout()
                _ = try session.createObject([
                    .objectClass(.data), .bool(.token, true), .bool(.isPrivate, false), .application("custody CKA_END_DATE"),
                    .label(hexadecimal(key.idBytes)), .date(.value, Self.past),
                ])
                try session.login(.user, pin: SoftHSMToken.secret(SoftHSMToken.userPIN))
                let now = try #require(try KeyObject.all(session).first)
                #expect(now.state == .disabled && !now.isDue(.today))
                // Nor does it move a day that somebody did confirm.
                let scheduled = try #require(try KeyProvisioner.change(now, .scheduleDestruction(after: Self.day), session))
                #expect(try KeyProvisioner.change(scheduled, .cancelDestruction, session)?.state == .disabled)
                #expect(try session.objects(.data).count == 1, "what is not Custody's stays")
            }
        }
    }

    @Test func aPublicObjectTakesNoNumber() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                var made = [try KeyProvisioner.generate("root", session).key]
                #expect(try KeyProvisioner.activate(made[0], reactivate: false, session))
                for version in [2, .max] as [UInt32] {
                    _ = try session.createObject(RootKeyTemplate(id: KeyID(newFor: version).bytes).withoutPIN)
                }
                made.append(try KeyProvisioner.rotate("root", session).key)
                #expect(made[1].id?.version == 2)
                #expect(try KeyProvisioner.claim(made[1], session))
                #expect(try KeyProvisioner.activate(made[1], reactivate: false, session))
            }
        }
    }

    /// The kill switch between the making of a version and its activation, or before both.
    @Test func whatWasTakenOutOfUseStaysSo() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let first = try KeyProvisioner.generate("root", session).key
                let error = try expectError(.keyNotUsable) { () throws(CustodyError) in try KeyProvisioner.rotate("root", session) }
                #expect(error.message.contains("--reactivate") && error.message.contains("key enable root"), "\(error)")
                #expect(try KeyProvisioner.activate(first, reactivate: false, session), "the only version has no others")
                let second = try KeyProvisioner.rotate("root", session).key
                let active = try KeyObject(first.object, session)
                _ = try KeyProvisioner.change(active, .disable, session)
                #expect(try !KeyProvisioner.activate(second, reactivate: false, session))
                #expect(try KeyObject.all(session).map(\.state) == [.disabled], "the new one is gone")
                let third = try KeyProvisioner.rotate("root", reactivate: true, session).key
                #expect(try KeyProvisioner.activate(third, reactivate: true, session))
                #expect(try KeyObject.all(session).map(\.state) == [.disabled, .active])
            }
        }
    }

    @Test func anotherDayIsRefused() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let key = try Start.disabled.make(session)
                let scheduled = try #require(try KeyProvisioner.change(key, .scheduleDestruction(after: Self.day), session))
                #expect(try KeyProvisioner.change(scheduled, .scheduleDestruction(after: Self.day), session) == nil)
                let error = try expectError(.keyNotUsable) { () throws(CustodyError) in
                    try KeyProvisioner.check(scheduled, .scheduleDestruction(after: Self.day.adding(days: -1)))
                }
                #expect(error.message.contains("--cancel"), "\(error)")
            }
        }
    }

    @Test func aNewVersionKnowsItsDay() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let before = UTCDay.today
                let made = try KeyProvisioner.generate("root", session)
                #expect([before, .today].contains(try #require(made.attributes.day(.startDate))))
                let catalog = KeyCatalog()
                try catalog.refresh(session)
                #expect(catalog.ring.keys.first?.versions.first?.created == made.attributes.date(.startDate))
                #expect(made.attributes.day(.endDate) == nil)
            }
        }
    }

    /// A maker of the same version that was killed before it could say whose number it is.
    @Test func aNumberThatAnotherHasIsNotTaken() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                _ = try KeyProvisioner.generate("root", session)
                let second = try KeyProvisioner.rotate("root", reactivate: true, session)
                #expect(second.id?.version == 2)
                #expect(try KeyProvisioner.rotate("root", reactivate: true, session).id?.version == 3)
                try expectError(.invalidRequest) { () throws(CustodyError) in try KeyProvisioner.generate("root", session) }
                #expect(try KeyObject.all(named: "root", session).map { $0.id?.version } == [1, 2, 3])
            }
        }
    }
}
