import SecureMemory

/// What an operation is about, after its sizes and its blob are found in order.
enum Target {
    enum Source {
        case envelope(Envelope)
        case raw
    }

    /// A root key by name: its newest active version.
    case key(KeyName)
    /// The version that a blob names.
    case version(KeyID, Source)

    /// The version that a blob names.
    var keyID: KeyID? { if case .version(let id, _) = self { id } else { nil } }

    /// - Throws: ``CustodyError`` with `invalidRequest`, `payloadTooLarge`, `malformedBlob` or `unsupportedFormat`.
    init(_ operation: Operation) throws(CustodyError) {
        switch operation {
        case .wrap(let key, let plaintext, _):
            guard !plaintext.isEmpty else { throw CustodyError(.invalidRequest, "the plaintext is empty: there is nothing to wrap") }
            try Self.checkPlaintext(plaintext.count)
            self = .key(key)
        case .encrypt(let key, let plaintext, let aad):
            try Self.checkPlaintext(plaintext.count)
            try Self.checkAAD(aad)
            self = .key(key)
        case .generateDataKey(let key, let length, _, _):
            guard CustodyLimits.dataKey.contains(length) else {
                throw CustodyError(
                    .invalidRequest,
                    "a data key has \(CustodyLimits.dataKey.lowerBound) to \(CustodyLimits.dataKey.upperBound) bytes, not \(length)")
            }
            self = .key(key)
        case .unwrap(let blob, _), .rewrap(let blob, _):
            let envelope = try Envelope(blob)
            self = .version(envelope.keyID, .envelope(envelope))
        case .decrypt(let raw):
            guard let id = KeyID(raw.keyID) else {
                throw CustodyError(.invalidRequest, "key_id has \(raw.keyID.count) bytes; it must have \(KeyID.length)")
            }
            guard raw.nonce.count == Envelope.nonceLength else {
                throw CustodyError(.invalidRequest, "nonce has \(raw.nonce.count) bytes; it must have \(Envelope.nonceLength)")
            }
            guard raw.tag.count == Envelope.tagLength else {
                throw CustodyError(.invalidRequest, "tag has \(raw.tag.count) bytes; it must have \(Envelope.tagLength)")
            }
            try Self.checkPlaintext(raw.ciphertext.count)
            try Self.checkAAD(raw.aad)
            self = .version(id, .raw)
        case .status, .metrics, .reload:
            throw CustodyError(.internalError, "\(operation.kind.rawValue) has no target")
        }
    }

    private static func checkPlaintext(_ count: Int) throws(CustodyError) {
        guard count <= CustodyLimits.plaintext else {
            throw CustodyError(
                .payloadTooLarge,
                "the payload has \(count) bytes; at most \(CustodyLimits.plaintext) are allowed: encrypt the data under a data key and wrap that")
        }
    }

    /// A raw AAD that begins like an envelope's would let the raw form open envelopes without their context.
    private static func checkAAD(_ aad: [UInt8]) throws(CustodyError) {
        guard aad.count <= CustodyLimits.rawAAD else {
            throw CustodyError(.payloadTooLarge, "the AAD has \(aad.count) bytes; at most \(CustodyLimits.rawAAD) are allowed")
        }
        guard !aad.starts(with: Envelope.magic) else {
            throw CustodyError(.invalidRequest, "a raw AAD must not begin with the envelope's magic CTDY")
        }
    }
}
