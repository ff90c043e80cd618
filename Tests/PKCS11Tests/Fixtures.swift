import PKCS11
import TestSupport
import Testing

/// Collects the error of a call that must fail.
func failure<R: ~Copyable>(
    _ body: () throws(PKCS11Error) -> R, sourceLocation: SourceLocation = #_sourceLocation
) throws -> PKCS11Error {
    do throws(PKCS11Error) {
        _ = try body()
    } catch {
        return error
    }
    Issue.record("the call must fail and did not", sourceLocation: sourceLocation)
    throw Succeeded()
}

struct Succeeded: Error {}

extension [Attribute] {
    /// An AES-256 key that cannot leave the token; later attributes are added by the test.
    static func aesKey(label: String, id: [UInt8] = [1], onToken: Bool = false) -> [Attribute] {
        [
            .objectClass(.secretKey), .keyType(.aes), .valueLength(32), .label(label), .id(id), .bool(.token, onToken),
            .bool(.isPrivate, true), .bool(.sensitive, true), .bool(.extractable, false), .bool(.encrypt, true),
            .bool(.decrypt, true), .bool(.wrap, false), .bool(.unwrap, false),
        ]
    }
}

extension Session {
    func seal(_ key: ObjectHandle, nonce: [UInt8], aad: [UInt8], _ plaintext: [UInt8]) throws(PKCS11Error) -> [UInt8] {
        var output: [UInt8] = []
        try encryptGCM(
            key, nonce: nonce.span.bytes, aad: aad.span.bytes, plaintext: plaintext.span.bytes, appendingTo: &output)
        return output
    }

    func open(_ key: ObjectHandle, nonce: [UInt8], aad: [UInt8], _ ciphertext: [UInt8]) throws(PKCS11Error) -> [UInt8] {
        try decryptGCM(key, nonce: nonce.span.bytes, aad: aad.span.bytes, ciphertext: ciphertext.span.bytes)
    }
}
