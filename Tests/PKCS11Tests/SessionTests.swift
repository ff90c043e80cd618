import PKCS11
import TestSupport
import Testing

@Suite struct SessionTests {
    private let pin = SoftHSMToken.secret(SoftHSMToken.userPIN)

    /// C_InitToken is refused as long as any session with the token is open, which tells whether one is.
    private func hasOpenSession(_ module: Module, _ slot: SlotID) throws -> Bool {
        do throws(PKCS11Error) {
            try module.initToken(slot, label: "custody", soPIN: SoftHSMToken.secret(SoftHSMToken.soPIN))
            return false
        } catch {
            #expect(error.returnValue == .sessionExists)
            return true
        }
    }

    @Test func closesWhenItGoes() async throws {
        try await SoftHSM.withToken { token in
            try token.withModule { module in
                let slot = try module.token(matching: token.uri).slot
                do {
                    let session = try module.openSession(slot, readWrite: false)
                    #expect(try hasOpenSession(module, slot))
                    #expect(try !session.isUserLoggedIn())
                }
                #expect(try !hasOpenSession(module, slot))
            }
        }
    }

    @Test func manyOneAfterTheOtherLeaveNoneOpen() async throws {
        try await SoftHSM.withToken { token in
            try token.withModule { module in
                let slot = try module.token(matching: token.uri).slot
                for _ in 0..<2_000 { _ = try module.openSession(slot, readWrite: true) }
                #expect(try !hasOpenSession(module, slot))
            }
        }
    }

    @Test func closesWhenItsOwnerThrows() async throws {
        try await SoftHSM.withToken { token in
            try token.withModule { module in
                let slot = try module.token(matching: token.uri).slot
                func fails() throws {
                    let session = try module.openSession(slot, readWrite: false)
                    try session.login(.user, pin: SoftHSMToken.secret("not the PIN"))
                }
                #expect(throws: PKCS11Error.self) { try fails() }
                #expect(try !hasOpenSession(module, slot))
            }
        }
    }

    private final class Holder {
        var session: Session?
        init(_ session: consuming Session) { self.session = consume session }
    }

    @Test func outlivesItsModuleWithoutHarm() async throws {
        try await SoftHSM.withToken { token in
            let first = try Module(token.modulePath)
            let old = Holder(try first.openSession(try first.token(matching: token.uri).slot, readWrite: false))
            try first.finalize()
            try token.withModule { second in
                // The handles of a new initialisation begin anew: this session has the number of the old one.
                let session = try second.openSession(try second.token(matching: token.uri).slot, readWrite: false)
                try session.login(.user, pin: pin)
                old.session = nil
                #expect(try session.isUserLoggedIn())
            }
        }
    }

    @Test func deadSessionSaysSo() async throws {
        try await SoftHSM.withToken { token in
            let module = try Module(token.modulePath)
            let session = try module.openSession(try module.token(matching: token.uri).slot, readWrite: false)
            try module.finalize()
            let error = try failure { () throws(PKCS11Error) in try session.isUserLoggedIn() }
            #expect(error.message == "C_GetSessionInfo returned CKR_CRYPTOKI_NOT_INITIALIZED")
        }
    }

    @Test func loginCountsForAllSessions() async throws {
        try await SoftHSM.withToken { token in
            try token.withModule { module in
                let slot = try module.token(matching: token.uri).slot
                let first = try module.openSession(slot, readWrite: false)
                try first.login(.user, pin: pin)
                let second = try module.openSession(slot, readWrite: true)
                #expect(try second.isUserLoggedIn())
                let again = try failure { () throws(PKCS11Error) in try second.login(.user, pin: pin) }
                #expect(again.returnValue == .userAlreadyLoggedIn)
                try second.logout()
                #expect(try !first.isUserLoggedIn())
            }
        }
    }

    @Test func loginEndsWithTheLastSession() async throws {
        try await SoftHSM.withToken { token in
            try token.withModule { module in
                let slot = try module.token(matching: token.uri).slot
                do { try module.openSession(slot, readWrite: false).login(.user, pin: pin) }
                let later = try module.openSession(slot, readWrite: false)
                #expect(try !later.isUserLoggedIn())
            }
        }
    }

    @Test func readOnlySessionWritesNothingToTheToken() async throws {
        try await SoftHSM.withToken { token in
            try token.withModule { module in
                let session = try module.openSession(try module.token(matching: token.uri).slot, readWrite: false)
                try session.login(.user, pin: pin)
                let error = try failure { () throws(PKCS11Error) in
                    try session.generateKey(.aesKeyGeneration, .aesKey(label: "k", onToken: true))
                }
                #expect(error.function == .generateKey)
                #expect(error.returnValue == .sessionReadOnly)
                #expect(error.message.contains("cannot be written to"))
            }
        }
    }

    @Test func randomBytesDiffer() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                #expect(try session.random(count: 0).isEmpty)
                let (one, other) = (try session.random(count: 32), try session.random(count: 32))
                #expect(one.count == 32)
                #expect(one != other)
                let many = try session.random(count: 1_024)
                #expect(Set(many).count > 100)
            }
        }
    }
}
