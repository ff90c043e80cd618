import PKCS11
import TestSupport
import Testing

@testable import Custody

@Suite struct KeyCatalogTests {
    private let id = KeyID(newFor: 1)

    /// Makes keys on a token of its own and reads them back.
    private func ring(
        exceptions: Set<KeyName> = [], _ make: @Sendable (borrowing Session) throws -> Void
    ) async throws -> KeyRing {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                try make(session)
                let catalog = KeyCatalog(exceptions: exceptions)
                try catalog.refresh(session)
                return catalog.ring
            }
        }
    }

    private func reason(_ version: KeyVersion?) throws -> String {
        guard case .refused(let reason) = try #require(version).state else {
            Issue.record("the key must be refused")
            return ""
        }
        return reason
    }

    @Test func goodKeyIsActive() async throws {
        let id = id
        let ring = try await ring { session in try RootKeyTemplate(id: id.bytes).generate(session) }
        let version = try #require(ring.version(id))
        #expect(version.state == .active)
        #expect(version.name == "root")
        #expect(version.exception == nil)
        #expect(ring.keys.map(\.name) == ["root"])
        #expect(ring.strangersByName.isEmpty)
    }

    @Test func extractableKeyIsRefusedByName() async throws {
        let id = id
        let ring = try await ring { session in
            var template = RootKeyTemplate(id: id.bytes)
            template.extractable = true
            try template.generate(session)
        }
        let reason = try reason(ring.version(id))
        for part in ["'root'", "version 1", id.description, "CKA_EXTRACTABLE is true", "CKA_NEVER_EXTRACTABLE is false"] {
            #expect(reason.contains(part), "\(reason)")
        }
        try expectError(.keyRefused) { () throws(CustodyError) in try ring.wrappingVersion(of: "root") }
        try expectError(.keyRefused) { () throws(CustodyError) in try ring.unwrappingVersion(id) }
    }

    @Test func importedKeyIsRefused() async throws {
        let id = id
        let ring = try await ring { session in
            try RootKeyTemplate(id: id.bytes).importing([UInt8](repeating: 7, count: 32), session)
        }
        let reason = try reason(ring.version(id))
        #expect(reason.contains("CKA_NEVER_EXTRACTABLE is false"), "\(reason)")
        #expect(reason.contains("imported"))
        #expect(!reason.contains("CKA_EXTRACTABLE is true"))
    }

    @Test func keyThatWrapsOrIsTooShortOrReadableIsRefused() async throws {
        let ids = (1...3).map { KeyID(newFor: $0) }
        let ring = try await ring { session in
            var wraps = RootKeyTemplate("wraps", id: ids[0].bytes)
            wraps.wrap = true
            try wraps.generate(session)
            var short = RootKeyTemplate("short", id: ids[1].bytes)
            short.length = 16
            try short.generate(session)
            var readable = RootKeyTemplate("readable", id: ids[2].bytes)
            readable.sensitive = false
            try readable.generate(session)
        }
        #expect(try reason(ring.version(ids[0])).contains("CKA_WRAP is true"))
        #expect(try reason(ring.version(ids[1])).contains("AES-128"))
        #expect(try reason(ring.version(ids[2])).contains("CKA_SENSITIVE is false"))
    }

    @Test func twoObjectsWithOneIDAreRefusedUnderBothNames() async throws {
        let (id, good) = (id, KeyID(newFor: 2))
        let ring = try await ring { session in
            try RootKeyTemplate("one", id: id.bytes).generate(session)
            try RootKeyTemplate("two", id: id.bytes).generate(session)
            try RootKeyTemplate("good", id: good.bytes).generate(session)
        }
        for name: KeyName in ["one", "two"] {
            let error = try expectError(.keyRefused) { () throws(CustodyError) in try ring.wrappingVersion(of: name) }
            #expect(error.message.contains("'one', 'two'"))
            #expect(error.message.contains(id.description))
        }
        try expectError(.keyRefused) { () throws(CustodyError) in try ring.unwrappingVersion(id) }
        #expect(try ring.wrappingVersion(of: "good").id == good)
    }

    /// What anybody can make without the PIN does not block a key.
    @Test(arguments: ["root", "other"])
    func aPublicDoubleIsAStranger(_ name: String) async throws {
        let id = id
        let ring = try await ring { session in
            try RootKeyTemplate(id: id.bytes).generate(session)
            try session.logout()
            _ = try session.createObject(RootKeyTemplate(name, id: id.bytes).withoutPIN)
            try session.login(.user, pin: SoftHSMToken.secret(SoftHSMToken.userPIN))
        }
        #expect(try ring.wrappingVersion(of: "root").id == id)
        #expect(try ring.unwrappingVersion(id).name == "root")
        #expect(ring.keys.map(\.name) == ["root"])
        #expect(ring.strangersByName.map(\.name) == [name])
        #expect(ring.strangersByName.first?.reason.contains("public object") == true)
    }

    /// Nor is it a version of its own, however high its number.
    @Test func aPublicObjectIsNoVersion() async throws {
        let (id, planted) = (id, KeyID(newFor: .max))
        let ring = try await ring(exceptions: ["root", "legacy"]) { session in
            try RootKeyTemplate(id: id.bytes).generate(session)
            try session.logout()
            for name in ["root", "other"] { _ = try session.createObject(RootKeyTemplate(name, id: planted.bytes).withoutPIN) }
            _ = try session.createObject(RootKeyTemplate("legacy", id: KeyID(newFor: 1).bytes).withoutPIN)
            try session.login(.user, pin: SoftHSMToken.secret(SoftHSMToken.userPIN))
        }
        // An exception by name is for a key that is nothing else; it lets nobody put another one beside it.
        #expect(try ring.wrappingVersion(of: "root").id == id)
        #expect(ring.keys.map(\.name) == ["legacy", "root"])
        #expect(ring.keys.map { $0.versions.count } == [1, 1])
        #expect(ring.strangersByName.map(\.name) == ["other", "root"])
        #expect(ring.strangersByName.allSatisfy { $0.id == planted.bytes && $0.reason.contains(planted.description) })
        try expectError(.keyRefused) { () throws(CustodyError) in try ring.wrappingVersion(of: "other") }
        try expectError(.keyNotFound) { () throws(CustodyError) in try ring.unwrappingVersion(planted) }
    }

    @Test(arguments: [[UInt8](), [1], [UInt8](repeating: 0, count: 16), [UInt8](repeating: 1, count: 17)])
    func foreignIDIsRefused(_ bytes: [UInt8]) async throws {
        let ring = try await ring { session in try RootKeyTemplate(id: bytes).generate(session) }
        #expect(ring.keys.isEmpty)
        #expect(ring.strangersByName.map(\.name) == ["root"])
        let error = try expectError(.keyRefused) { () throws(CustodyError) in try ring.wrappingVersion(of: "root") }
        #expect(error.message.contains("'root'"))
        #expect(error.message.contains("CKA_ID"))
    }

    @Test func exceptionLetsOneThroughAndSaysSo() async throws {
        let (mine, other) = (KeyID(newFor: 1), KeyID(newFor: 1))
        let ring = try await ring(exceptions: ["legacy"]) { session in
            for (name, id) in [("legacy", mine), ("other", other)] {
                var template = RootKeyTemplate(name, id: id.bytes)
                template.extractable = true
                try template.generate(session)
            }
        }
        let version = try ring.wrappingVersion(of: "legacy")
        #expect(version.state == .active)
        #expect(try #require(version.exception).contains("CKA_EXTRACTABLE is true"))
        #expect(try reason(ring.version(other)).contains("'other'"))
    }

    @Test func stateIsTheObjectsAttributes() async throws {
        let ids = (1...4).map { KeyID(newFor: $0) }
        let ring = try await ring { session in
            for (index, (encrypt, decrypt)) in [(true, true), (false, true), (false, false), (true, false)].enumerated() {
                var template = RootKeyTemplate(id: ids[index].bytes)
                (template.encrypt, template.decrypt) = (encrypt, decrypt)
                try template.generate(session)
            }
        }
        #expect(ids.map { ring.version($0)?.state } == [.active, .deactivated, .disabled, .disabled])
        // Only the first may wrap, although it is the oldest.
        #expect(try ring.wrappingVersion(of: "root").id == ids[0])
        #expect(try ring.unwrappingVersion(ids[1]).id == ids[1])
        try expectError(.keyNotUsable) { () throws(CustodyError) in try ring.unwrappingVersion(ids[2]) }
    }

    @Test func newestActiveVersionWraps() async throws {
        let ids = [3, 1, 2].map { KeyID(newFor: $0) }
        let ring = try await ring { session in
            for id in ids { try RootKeyTemplate(id: id.bytes).generate(session) }
        }
        #expect(try ring.wrappingVersion(of: "root").version == 3)
        #expect(ring.keys.first?.versions.map(\.version) == [1, 2, 3])
        try expectError(.keyNotFound) { () throws(CustodyError) in try ring.wrappingVersion(of: "roo") }
        try expectError(.keyNotFound) { () throws(CustodyError) in try ring.unwrappingVersion(KeyID(newFor: 1)) }
    }

    @Test func lookSeesWhatChanged() async throws {
        let id = id
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let catalog = KeyCatalog()
                let key = try RootKeyTemplate(id: id.bytes).generate(session)
                try catalog.refresh(session)
                #expect(catalog.ring.version(id)?.state == .active)
                try session.setAttributes(of: key, [.bool(.encrypt, false)])
                try catalog.refresh(session)
                #expect(catalog.ring.version(id)?.state == .deactivated)
                try session.destroyObject(key)
                try catalog.refresh(session)
                #expect(catalog.ring.version(id) == nil)
            }
        }
    }

    @Test func trialTellsKeysThatLeaveFromKeysThatStay() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                var template = RootKeyTemplate(id: KeyID(newFor: 1).bytes)
                let kept = try template.generate(session)
                template.extractable = true
                let leaves = try template.generate(session)
                #expect(ProofOfCustody.tryToExport(kept, session).verdict == .refused)
                #expect(ProofOfCustody.tryToExport(leaves, session).verdict == .handedOut(.copy(.extractable)))
                // The throw-away keys are gone.
                #expect(try session.objects(.secretKey).count == 2)
                try session.logout()
                guard case .inconclusive = ProofOfCustody.tryToExport(kept, session).verdict else {
                    Issue.record("nobody is logged in, so nothing can be tried")
                    return
                }
            }
        }
    }
}
