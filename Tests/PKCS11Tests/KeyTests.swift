import PKCS11
import TestSupport
import Testing

@Suite struct KeyTests {
    private let nonce = [UInt8](1...12)
    private let noAAD: [UInt8] = []

    @Test func generatedKeyHasWhatTheTemplateSays() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let key = try session.generateKey(.aesKeyGeneration, .aesKey(label: "k", onToken: true))
                let types: [AttributeType] = [
                    .token, .isPrivate, .sensitive, .alwaysSensitive, .neverExtractable, .local, .encrypt, .decrypt,
                    .extractable, .wrap, .unwrap,
                ]
                let attributes = try session.attributes(of: key, types)
                for type in types.prefix(8) { #expect(attributes.bool(type) == true, "\(type)") }
                for type in types.suffix(3) { #expect(attributes.bool(type) == false, "\(type)") }
            }
        }
    }

    @Test func impossibleKeyIsRefused() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let template: [Attribute] = [.objectClass(.secretKey), .keyType(.aes), .valueLength(31), .bool(.token, false)]
                let error = try failure { () throws(PKCS11Error) in try session.generateKey(.aesKeyGeneration, template) }
                #expect(error.function == .generateKey)
                let other = try failure { () throws(PKCS11Error) in
                    try session.generateKey(Mechanism(rawValue: 0x8000_0001), .aesKey(label: "k"))
                }
                #expect(other.message == "C_GenerateKey returned CKR_MECHANISM_INVALID")
            }
        }
    }

    @Test(arguments: [0, 1, 15, 16, 17, 184, 65_536], [0, 1, 8_192])
    func roundTrip(_ length: Int, _ aadLength: Int) async throws {
        let plaintext = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let aad = (0..<aadLength).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let key = try session.generateKey(.aesKeyGeneration, .aesKey(label: "k"))
                let sealed = try session.seal(key, nonce: nonce, aad: aad, plaintext)
                #expect(sealed.count == length + Session.gcmTagLength)
                #expect(length < 15 || !sealed.starts(with: plaintext))
                #expect(try session.open(key, nonce: nonce, aad: aad, sealed) == plaintext)
            }
        }
    }

    @Test func appendsBehindWhatIsThere() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let key = try session.generateKey(.aesKeyGeneration, .aesKey(label: "k"))
                let plaintext = [UInt8](repeating: 9, count: 40)
                var output: [UInt8] = [1, 2, 3]
                try session.encryptGCM(
                    key, nonce: nonce.span.bytes, aad: noAAD.span.bytes, plaintext: plaintext.span.bytes, appendingTo: &output)
                #expect(output.prefix(3) == [1, 2, 3])
                let expected = try session.seal(key, nonce: nonce, aad: [], plaintext)
                #expect(Array(output.dropFirst(3)) == expected)
                // A failure takes back what it had added.
                try session.destroyObject(key)
                var untouched: [UInt8] = [1, 2, 3]
                #expect(throws: PKCS11Error.self) {
                    try session.encryptGCM(
                        key, nonce: nonce.span.bytes, aad: noAAD.span.bytes, plaintext: plaintext.span.bytes,
                        appendingTo: &untouched)
                }
                #expect(untouched == [1, 2, 3])
            }
        }
    }

    @Test func whatWasAlteredDoesNotOpenAndTheSessionWorksOn() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let key = try session.generateKey(.aesKeyGeneration, .aesKey(label: "k"))
                let other = try session.generateKey(.aesKeyGeneration, .aesKey(label: "other"))
                let (aad, plaintext): ([UInt8], [UInt8]) = ([5, 6], [UInt8](0..<48))
                let sealed = try session.seal(key, nonce: nonce, aad: aad, plaintext)
                for index in sealed.indices {
                    var altered = sealed
                    altered[index] ^= 0x80
                    try session.refuses(key, nonce, aad, altered, "byte \(index)")
                }
                try session.refuses(key, nonce, [5, 7], sealed, "wrong AAD")
                try session.refuses(key, nonce, [], sealed, "no AAD")
                try session.refuses(key, nonce, [5, 6, 0], sealed, "longer AAD")
                try session.refuses(key, [UInt8](2...13), aad, sealed, "wrong nonce")
                try session.refuses(other, nonce, aad, sealed, "wrong key")
                try session.refuses(key, nonce, aad, sealed.dropLast(), "cut off")
                try session.refuses(key, nonce, aad, Array(sealed.prefix(15)), "shorter than a tag")
                try session.refuses(key, nonce, aad, [], "nothing")
                #expect(try session.open(key, nonce: nonce, aad: aad, sealed) == plaintext)
            }
        }
    }

    @Test(arguments: [Mechanism.aesKeyWrap, .aesKeyWrapPad])
    func tokenDoesNotHandAKeyOut(_ mechanism: Mechanism) async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let key = try session.generateKey(.aesKeyGeneration, .aesKey(label: "k"))
                let exportable = try session.generateKey(
                    .aesKeyGeneration,
                    [
                        .objectClass(.secretKey), .keyType(.aes), .valueLength(32), .bool(.token, false),
                        .bool(.sensitive, true), .bool(.extractable, true), .bool(.wrap, true),
                    ])
                let error = try failure { () throws(PKCS11Error) in try session.wrapKey(key, under: exportable, mechanism) }
                #expect(error.message == "C_WrapKey returned CKR_KEY_UNEXTRACTABLE")
                // The same call does hand out a key that may leave, so the refusal means something.
                #expect(try session.wrapKey(exportable, under: exportable, mechanism) == 40)
            }
        }
    }
}

extension Session {
    /// Expects that C_Decrypt refuses.
    fileprivate func refuses(
        _ key: ObjectHandle, _ nonce: [UInt8], _ aad: [UInt8], _ sealed: [UInt8], _ what: Comment,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        do throws(PKCS11Error) {
            _ = try open(key, nonce: nonce, aad: aad, sealed)
            Issue.record(what, sourceLocation: sourceLocation)
        } catch {
            #expect(error.function == .decrypt, what, sourceLocation: sourceLocation)
        }
    }
}
