import PKCS11
import SecureMemory
import TestSupport
import Testing

@Suite struct ProvisioningTests {
    private let soPIN = SoftHSMToken.secret("first-so-pin")
    private let pin = SoftHSMToken.secret("first-pin")

    /// Initialises the empty slot's token, with a user PIN; the module must be initialised anew to see its slot.
    private func provision(_ module: Module, label: String) throws {
        let slot = try #require(try module.slots(withToken: true).first)
        try module.initToken(slot, label: label, soPIN: soPIN)
        let session = try module.openSession(try module.token(matching: TokenURI(label: label)).slot, readWrite: true)
        try session.login(.securityOfficer, pin: soPIN)
        try session.initPIN(pin)
        try session.logout()
    }

    @Test func initialisesTokenAndPIN() async throws {
        try await SoftHSM.withToken(label: nil) { token in
            try token.withModule { try provision($0, label: "fresh") }
            try token.withModule { module in
                let info = try module.token(matching: TokenURI(label: "fresh"))
                #expect(info.isUserPINInitialized)
                let session = try module.openSession(info.slot, readWrite: false)
                #expect(try !session.isUserLoggedIn())
                try session.login(.user, pin: pin)
                #expect(try session.isUserLoggedIn())
                try session.logout()
                #expect(try !session.isUserLoggedIn())
            }
        }
    }

    @Test(arguments: ["", String(repeating: "x", count: 33), String(repeating: "ü", count: 17)])
    func labelThatDoesNotFitIsRefused(_ label: String) async throws {
        try await SoftHSM.withToken(label: nil) { token in
            try token.withModule { module in
                let slot = try #require(try module.slots(withToken: true).first)
                let error = try failure { () throws(PKCS11Error) in try module.initToken(slot, label: label, soPIN: soPIN) }
                #expect(error.message.contains("1 to 32 bytes"))
                #expect(try !module.tokenInfo(slot).isInitialized)
            }
        }
    }

    @Test func longestLabelFits() async throws {
        let label = String(repeating: "ü", count: 16)
        try await SoftHSM.withToken(label: nil) { token in
            try token.withModule { try provision($0, label: label) }
            try token.withModule { module in
                let found = try module.token(matching: TokenURI(label: label))
                #expect(found.label == label)
            }
        }
    }

    @Test func changesThePIN() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                try session.setPIN(old: SoftHSMToken.secret(SoftHSMToken.userPIN), new: SoftHSMToken.secret("second-pin"))
            }
            try token.withModule { module in
                let session = try module.openSession(try module.token(matching: token.uri).slot, readWrite: false)
                let error = try failure { () throws(PKCS11Error) in
                    try session.login(.user, pin: SoftHSMToken.secret(SoftHSMToken.userPIN))
                }
                #expect(error.returnValue == .pinIncorrect)
                try session.login(.user, pin: SoftHSMToken.secret("second-pin"))
            }
        }
    }

    @Test func wrongPINNamesFunctionAndValueButNotThePIN() async throws {
        try await SoftHSM.withToken { token in
            try token.withModule { module in
                let slot = try module.token(matching: token.uri).slot
                let session = try module.openSession(slot, readWrite: false)
                let error = try failure { () throws(PKCS11Error) in
                    try session.login(.user, pin: SoftHSMToken.secret("wrong-73591846"))
                }
                #expect(error.code == .callFailed)
                #expect(error.function == .login)
                #expect(error.returnValue == .pinIncorrect)
                #expect(error.message.hasPrefix("C_Login returned CKR_PIN_INCORRECT: "))
                #expect(!error.message.contains("73591846"))
                #expect(try module.tokenInfo(slot).isUserPINCountLow)
                #expect(try !session.isUserLoggedIn())
                // The right one still works, and clears the warning.
                try session.login(.user, pin: SoftHSMToken.secret(SoftHSMToken.userPIN))
                #expect(try !module.tokenInfo(slot).isUserPINCountLow)
            }
        }
    }

    @Test func shortPINIsRefused() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let error = try failure { () throws(PKCS11Error) in
                    try session.setPIN(old: SoftHSMToken.secret(SoftHSMToken.userPIN), new: SoftHSMToken.secret("123"))
                }
                #expect(error.function == .setPIN)
                #expect(error.returnValue == .pinLengthRange)
                #expect(error.message.contains("custodyctl token show"))
            }
        }
    }
}
