import PKCS11
import TestSupport
import Testing

@Suite struct ObjectTests {
    @Test func searchFindsWhatMatchesEveryAttribute() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let a1 = try session.generateKey(.aesKeyGeneration, .aesKey(label: "a", id: [1]))
                let a2 = try session.generateKey(.aesKeyGeneration, .aesKey(label: "a", id: [2]))
                let b1 = try session.generateKey(.aesKeyGeneration, .aesKey(label: "b", id: [1]))
                #expect(try Set(session.objects(.secretKey)) == [a1, a2, b1])
                #expect(try Set(session.objects(.secretKey, matching: [.label("a")])) == [a1, a2])
                #expect(try session.objects(.secretKey, matching: [.label("a"), .id([1])]) == [a1])
                #expect(try session.objects(.secretKey, matching: [.label("c")]).isEmpty)
                #expect(try session.objects(.secretKey, matching: [.keyType(.genericSecret)]).isEmpty)
                #expect(try session.objects(.secretKey, matching: [.bool(.token, true)]).isEmpty)
            }
        }
    }

    @Test func classIsPartOfTheSearch() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let key = try session.generateKey(.aesKeyGeneration, .aesKey(label: "same"))
                let data = try session.createObject([.objectClass(.data), .label("same"), .bool(.token, false), .value([1, 2])])
                #expect(try session.objects(.secretKey, matching: [.label("same")]) == [key])
                #expect(try session.objects(.data, matching: [.label("same")]) == [data])
                #expect(try session.objects(.publicKey, matching: [.label("same")]).isEmpty)
                #expect(try session.objects(.privateKey, matching: [.label("same")]).isEmpty)
            }
        }
    }

    @Test func searchGivesMoreThanOneBatch() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                var made: Set<ObjectHandle> = []
                for index in 0..<130 {
                    made.insert(try session.generateKey(.aesKeyGeneration, .aesKey(label: "many", id: [UInt8(index)])))
                }
                let found = try session.objects(.secretKey, matching: [.label("many")])
                #expect(found.count == 130)
                #expect(Set(found) == made)
            }
        }
    }

    @Test func privateObjectsAreHiddenWithoutLogin() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                _ = try session.generateKey(.aesKeyGeneration, .aesKey(label: "k", onToken: true))
                #expect(try session.objects(.secretKey).count == 1)
                try session.logout()
                #expect(try session.objects(.secretKey).isEmpty)
            }
        }
    }

    @Test func readsEveryKindOfAttribute() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let key = try session.generateKey(.aesKeyGeneration, .aesKey(label: "schlüssel", id: [0, 1, 255]))
                let attributes = try session.attributes(
                    of: key, [.label, .id, .keyType, .valueLength, .sensitive, .extractable, .local, .endDate])
                #expect(attributes.string(.label) == "schlüssel")
                #expect(attributes.bytes(.id) == [0, 1, 255])
                #expect(attributes.isKeyType(.aes))
                #expect(!attributes.isKeyType(.genericSecret))
                #expect(attributes.number(.valueLength) == 32)
                #expect(attributes.bool(.sensitive) == true)
                #expect(attributes.bool(.extractable) == false)
                #expect(attributes.bool(.local) == true)
                #expect(attributes.date(.endDate) == nil)
                // Not asked for; and read as what it is not.
                #expect(attributes.bool(.encrypt) == nil)
                #expect(attributes.bool(.label) == nil)
                #expect(attributes.number(.sensitive) == nil)
            }
        }
    }

    @Test func withheldAndUnknownAttributesAreAbsent() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let key = try session.generateKey(.aesKeyGeneration, .aesKey(label: "k"))
                let unknown = AttributeType(rawValue: 0x8000_1234)
                let attributes = try session.attributes(of: key, [.label, .value, unknown, .sensitive])
                #expect(attributes.bytes(.value) == nil)
                #expect(attributes.bytes(unknown) == nil)
                // What stands before and behind them is there all the same.
                #expect(attributes.string(.label) == "k")
                #expect(attributes.bool(.sensitive) == true)
                #expect(unknown.description == "CKA_0x80001234")
            }
        }
    }

    @Test func changesAttributes() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let key = try session.generateKey(.aesKeyGeneration, .aesKey(label: "k", onToken: true))
                try session.setAttributes(of: key, [.bool(.encrypt, false), .label("renamed")])
                let attributes = try session.attributes(of: key, [.encrypt, .decrypt, .label])
                #expect(attributes.bool(.encrypt) == false)
                #expect(attributes.bool(.decrypt) == true)
                #expect(attributes.string(.label) == "renamed")
                let nonce = [UInt8](repeating: 0, count: 12)
                let error = try failure { () throws(PKCS11Error) in try session.seal(key, nonce: nonce, aad: [], [1]) }
                #expect(error.function == .encryptInit)
                #expect(error.returnValue == .keyFunctionNotPermitted)
                // The token does not let a key be made extractable afterwards.
                let refusal = try failure { () throws(PKCS11Error) in
                    try session.setAttributes(of: key, [.bool(.extractable, true)])
                }
                #expect(refusal.function == .setAttributeValue)
            }
        }
    }

    @Test func destroyedObjectIsGone() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let key = try session.generateKey(.aesKeyGeneration, .aesKey(label: "k", onToken: true))
                try session.destroyObject(key)
                #expect(try session.objects(.secretKey).isEmpty)
                let reading = try failure { () throws(PKCS11Error) in try session.attributes(of: key, [.label]) }
                #expect(reading.message == "C_GetAttributeValue returned CKR_OBJECT_HANDLE_INVALID")
                let use = try failure { () throws(PKCS11Error) in
                    try session.seal(key, nonce: [UInt8](repeating: 0, count: 12), aad: [], [1])
                }
                #expect(use.function == .encryptInit)
                #expect(use.returnValue == .objectHandleInvalid)
                #expect(throws: PKCS11Error.self) { try session.destroyObject(key) }
            }
        }
    }
}
