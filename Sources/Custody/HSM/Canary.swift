import PKCS11
import SecureMemory

/// A session key that is wrapped with and unwrapped with to learn whether the token does as it should. It is never stored,
/// and goes with its session.
struct Canary {
    private let key: ObjectHandle
    private let nonce: [UInt8]
    private let sealed: [UInt8]

    private static let text = [UInt8](repeating: 0x55, count: 16)

    /// Makes the key and wraps with it.
    init(_ session: borrowing Session) throws(PKCS11Error) {
        key = try session.generateKey(.aesKeyGeneration, [
            .objectClass(.secretKey), .keyType(.aes), .valueLength(32), .bool(.token, false), .bool(.isPrivate, true),
            .bool(.sensitive, true), .bool(.extractable, false), .bool(.encrypt, true), .bool(.decrypt, true),
        ])
        nonce = KernelRandom.bytes(count: Envelope.nonceLength)
        sealed = try Self.seal(session, key, nonce)
    }

    /// Opens what was wrapped at first: one operation, which says whether the token decrypts.
    func open(_ session: borrowing Session) throws(PKCS11Error) {
        let opened = try session.decryptGCM(key, nonce: nonce.span.bytes, aad: Self.text.span.bytes, ciphertext: sealed.span.bytes)
        guard opened == Self.text else { throw Self.wrong }
    }

    /// Wraps anew, under the same key and nonce: the same text, so that it shows nothing and must give the same ciphertext.
    func wrapAndOpen(_ session: borrowing Session) throws(PKCS11Error) {
        guard try Self.seal(session, key, nonce) == sealed else { throw Self.wrong }
        try open(session)
    }

    private static func seal(
        _ session: borrowing Session, _ key: ObjectHandle, _ nonce: [UInt8]
    ) throws(PKCS11Error) -> [UInt8] {
        var sealed: [UInt8] = []
        try session.encryptGCM(key, nonce: nonce.span.bytes, aad: text.span.bytes, plaintext: text.span.bytes, appendingTo: &sealed)
        return sealed
    }

    private static let wrong = PKCS11Error(
        code: .wrongOutput, message: "the token does not give back what it wrapped: it computes wrongly; have it examined")
}
