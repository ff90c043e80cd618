import PKCS11
import TestSupport
import Testing

@Suite struct TokenURITests {
    @Test(arguments: [
        ("custody", "pkcs11:token=custody"),
        ("two words", "pkcs11:token=two%20words"),
        ("a;b/c?d%", "pkcs11:token=a%3Bb%2Fc%3Fd%25"),
        ("Schlüssel", "pkcs11:token=Schl%C3%BCssel"),
        ("\n", "pkcs11:token=%0A"),
    ])
    func labelIsEscaped(_ label: String, _ expected: String) throws {
        #expect(TokenURI(label: label).description == expected)
        _ = try TokenURI(expected)
    }

    @Test(arguments: [
        "pkcs11:", "pkcs11:token=custody", "pkcs11:serial=0123456789abcdef", "pkcs11:token=custody;manufacturer=SoftHSM%20project",
        "pkcs11:model=SoftHSM%20v2", "pkcs11:slot-id=4",
    ])
    func tokenAttributesAreTaken(_ text: String) throws {
        #expect(try TokenURI(text).string == text)
    }

    @Test(arguments: [
        ("", "not a PKCS#11 URI"), ("custody", "not a PKCS#11 URI"), ("http://example.org", "not a PKCS#11 URI"),
        ("pkcs11:token=%zz", "not a PKCS#11 URI"),
        ("pkcs11:token=custody;object=key", "names an object"), ("pkcs11:token=custody;id=%01", "names an object"),
        ("pkcs11:token=custody;type=secret-key", "names an object"),
        ("pkcs11:token=custody;colour=blue", "not known"),
    ])
    func whatSelectsNoTokenIsRefused(_ text: String, _ why: String) throws {
        let error = try failure { () throws(PKCS11Error) in try TokenURI(text) }
        #expect(error.code == .invalidURI)
        #expect(error.message.contains(why), "\(error.message)")
        #expect(error.message.contains("pkcs11:token=custody"))
    }

    @Test(arguments: [
        "pkcs11:token=custody?pin-value=73591846", "pkcs11:token=custody?module-name=x&pin-value=73591846",
        "pkcs11:token=custody;pin-value=73591846", "pkcs11:pin-value=73591846;token=custody",
        "pkcs11:token=custody;PIN-VALUE=73591846", "pkcs11:token=custody;pin=73591846",
        "pkcs11:object=x?pin-value=73591846", "pkcs11:token=%zz?pin-value=73591846",
        "pkcs11:token=custody?pin-source=file:/73591846", "pkcs11:token=custody;pinfile=73591846",
    ])
    func pinIsRefusedAndNotEchoed(_ text: String) throws {
        let error = try failure { () throws(PKCS11Error) in try TokenURI(text) }
        #expect(error.code == .invalidURI)
        #expect(!"\(error)".contains("73591846"), "\(error)")
    }

    @Test func selectsByLabelAndBySerial() async throws {
        try await SoftHSM.withToken { token in
            try await token.initialize(label: "other one")
            try token.withModule { module in
                let custody = try module.token(matching: TokenURI("pkcs11:token=custody"))
                let other = try module.token(matching: TokenURI(label: "other one"))
                #expect(custody.label == "custody")
                #expect(other.label == "other one")
                #expect(try module.token(matching: TokenURI("pkcs11:serial=\(other.serial)")) == other)
                #expect(try module.token(matching: TokenURI("pkcs11:token=custody;serial=\(custody.serial)")) == custody)
                #expect(try module.token(matching: TokenURI("pkcs11:slot-id=\(other.slot.rawValue)")) == other)
                // Right label, somebody else's serial.
                let error = try failure { () throws(PKCS11Error) in
                    try module.token(matching: TokenURI("pkcs11:token=custody;serial=\(other.serial)"))
                }
                #expect(error.code == .tokenNotFound)
            }
        }
    }

    @Test func labelIsTakenWhole() async throws {
        try await SoftHSM.withToken { token in
            try token.withModule { module in
                for text in ["pkcs11:token=cust", "pkcs11:token=custody2", "pkcs11:token=Custody"] {
                    let error = try failure { () throws(PKCS11Error) in try module.token(matching: TokenURI(text)) }
                    #expect(error.code == .tokenNotFound, "\(text)")
                }
            }
        }
    }

    @Test func notFoundTellsWhatIsThere() async throws {
        try await SoftHSM.withToken { token in
            try token.withModule { module in
                let error = try failure { () throws(PKCS11Error) in try module.token(matching: TokenURI("pkcs11:token=gone")) }
                let there = try module.token(matching: token.uri)
                #expect(error.code == .tokenNotFound)
                #expect(error.message.contains("pkcs11:token=gone"))
                #expect(error.message.contains("'custody' (serial \(there.serial))"))
            }
        }
    }

    @Test func uninitialisedTokenIsNotFound() async throws {
        try await SoftHSM.withToken(label: nil) { token in
            try token.withModule { module in
                let error = try failure { () throws(PKCS11Error) in try module.token(matching: TokenURI("pkcs11:")) }
                #expect(error.code == .tokenNotFound)
                #expect(error.message.contains("no initialised token"))
            }
        }
    }

    @Test func twoOfOneLabelAreAmbiguous() async throws {
        try await SoftHSM.withToken { token in
            try await token.initialize(label: "custody")
            try token.withModule { module in
                let error = try failure { () throws(PKCS11Error) in try module.token(matching: token.uri) }
                #expect(error.code == .tokenAmbiguous)
                for slot in try module.slots(withToken: true) {
                    let info = try module.tokenInfo(slot)
                    #expect(!info.isInitialized || error.message.contains(info.serial))
                }
                #expect(error.message.contains("add serial="))
            }
        }
    }
}
