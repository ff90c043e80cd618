import PKCS11
import TestSupport
import Testing

/// Known answers of AES-256-GCM: McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)", appendix B.
@Suite struct KnownAnswerTests {
    struct Vector: Sendable, CustomTestStringConvertible {
        let number: Int
        let key, plaintext, aad, nonce, ciphertext, tag: String
        var testDescription: String { "test case \(number)" }
    }

    private static let key = "feffe9928665731c6d6a8f9467308308 feffe9928665731c6d6a8f9467308308"
    private static let zeros = String(repeating: "00", count: 32)
    private static let plaintext = """
        d9313225f88406e5a55909c5aff5269a 86a7a9531534f7da2e4c303d8a318a72
        1c3c0c95956809532fcf0e2449a6b525 b16aedf5aa0de657ba637b39
        """
    private static let ciphertext = """
        522dc1f099567d07f47f37a32a84427d 643a8cdcbfe5c0c97598a2bd2555d1aa
        8cb08e48590dbb3da7b08b1056828838 c5f61e6393ba7a0abcc9f662
        """

    static let vectors = [
        Vector(
            number: 13, key: zeros, plaintext: "", aad: "", nonce: "000000000000000000000000", ciphertext: "",
            tag: "530f8afbc74536b9a963b4f1c4cb738b"),
        Vector(
            number: 14, key: zeros, plaintext: "00000000000000000000000000000000", aad: "", nonce: "000000000000000000000000",
            ciphertext: "cea7403d4d606b6e074ec5d3baf39d18", tag: "d0d1c8a799996bf0265b98b5d48ab919"),
        Vector(
            number: 15, key: key, plaintext: plaintext + "1aafd255", aad: "", nonce: "cafebabefacedbaddecaf888",
            ciphertext: ciphertext + "898015ad", tag: "b094dac5d93471bdec1a502270e3cc6c"),
        Vector(
            number: 16, key: key, plaintext: plaintext, aad: "feedfacedeadbeeffeedfacedeadbeefabaddad2",
            nonce: "cafebabefacedbaddecaf888", ciphertext: ciphertext, tag: "76fc6ece0f4e1768cddf8853bb2d551b"),
    ]

    @Test(arguments: vectors) func agrees(_ vector: Vector) async throws {
        let keyBytes = try #require(bytes(hex: vector.key))
        let nonce = try #require(bytes(hex: vector.nonce))
        let aad = try #require(bytes(hex: vector.aad))
        let plaintext = try #require(bytes(hex: vector.plaintext))
        let sealed = try #require(bytes(hex: vector.ciphertext + vector.tag))
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                let key = try session.createObject([
                    .objectClass(.secretKey), .keyType(.aes), .value(keyBytes), .bool(.token, false), .bool(.encrypt, true),
                    .bool(.decrypt, true),
                ])
                #expect(try session.seal(key, nonce: nonce, aad: aad, plaintext) == sealed)
                #expect(try session.open(key, nonce: nonce, aad: aad, sealed) == plaintext)
            }
        }
    }
}
