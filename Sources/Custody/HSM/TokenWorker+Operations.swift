import PKCS11
import SecureMemory

/// What a worker does with a root key.
extension TokenWorker {
    /// Picks a key version from the ring and uses it. If the version is not there, or the token says that its object is
    /// gone or changed, the token is looked at again and the choice is made once more.
    mutating func onKey<R>(
        _ catalog: KeyCatalog, _ pick: (KeyRing) throws(CustodyError) -> KeyVersion,
        _ use: (inout TokenWorker, KeyVersion) throws(Failure) -> R
    ) throws(CustodyError) -> R {
        var isSecondTry = false
        while true {
            let key: KeyVersion
            do throws(CustodyError) {
                key = try pick(catalog.ring)
            } catch {
                guard !isSecondTry else { throw error }
                isSecondTry = true
                try lookAgain()
                continue
            }
            do throws(Failure) {
                return try use(&self, key)
            } catch {
                switch error {
                case .custody(let error): throw error
                case .data:
                    throw CustodyError(
                        .decryptionFailed,
                        "the blob does not open: it was altered, or the encryption context is not the one it was wrapped with")
                case .objectGone, .objectForbidden:
                    guard !isSecondTry else {
                        throw CustodyError(.keyNotUsable, "\(key.title) can't be used: the token says that it was removed or that its attributes forbid it")
                    }
                    isSecondTry = true
                    // Only a look that begins now shows what changed; one of a moment ago has the same stale object.
                    try lookAgain(unlessRecent: false)
                }
            }
        }
    }

    /// Looks at the keys on the token, unless that was done a moment ago: unknown key ids from a client must not turn
    /// into searches of the token.
    mutating func lookAgain(unlessRecent: Bool = true) throws(CustodyError) {
        do {
            try refreshKeys(unlessRecent: unlessRecent)
        } catch {
            if case .custody(let error) = error { throw error }
            throw CustodyError(.tokenUnavailable, "the keys on the token can't be read", retryAfterMilliseconds: 100)
        }
    }

    /// Wraps a plaintext: a whole new blob.
    ///
    /// - Parameter use: What ``UsageLedger/countEncryption(with:)`` gave.
    mutating func seal(
        _ plaintext: SecretBytes, _ key: KeyVersion, _ context: EncryptionContext, use: UInt64
    ) throws(Failure) -> [UInt8] {
        let header = Envelope.header(keyID: key.id, nonce: Nonce(use: use).bytes, reserving: plaintext.count)
        let aad = Envelope.aad(header: header[...], context)
        return try encrypt(
            plaintext, key, nonce: header[(Envelope.headerLength - Envelope.nonceLength)...], aad: aad, prefix: header)
    }

    /// Opens a blob.
    mutating func open(_ envelope: Envelope, _ key: KeyVersion, _ context: EncryptionContext) throws(Failure) -> SecretBytes {
        let aad = Envelope.aad(header: envelope.bytes[..<Envelope.headerLength], context)
        return try decrypt(key, nonce: envelope.nonce, aad: aad, ciphertext: envelope.bytes[Envelope.headerLength...])
    }

    /// AES-256-GCM: the prefix, the ciphertext and the tag.
    mutating func encrypt(
        _ plaintext: SecretBytes, _ key: KeyVersion, nonce: ArraySlice<UInt8>, aad: [UInt8], prefix: [UInt8]
    ) throws(Failure) -> [UInt8] {
        do throws(Failure) {
            return try run { (session) throws(PKCS11Error) in
                var output = prefix
                try plaintext.withBytes { (bytes) throws(PKCS11Error) in
                    try session.encryptGCM(
                        key.object, nonce: nonce.span.bytes, aad: aad.span.bytes, plaintext: bytes, appendingTo: &output)
                }
                return output
            }
        } catch {
            guard case .data = error else { throw error }
            throw .custody(CustodyError(.invalidRequest, "the token does not take a plaintext of \(plaintext.count) bytes"))
        }
    }

    mutating func decrypt(
        _ key: KeyVersion, nonce: ArraySlice<UInt8>, aad: [UInt8], ciphertext: ArraySlice<UInt8>
    ) throws(Failure) -> SecretBytes {
        try run { (session) throws(PKCS11Error) in
            let plaintext = try session.decryptGCM(
                key.object, nonce: nonce.span.bytes, aad: aad.span.bytes, ciphertext: ciphertext.span.bytes)
            defer { plaintext.zeroize() }
            return SecretBytes(plaintext)
        }
    }
}
