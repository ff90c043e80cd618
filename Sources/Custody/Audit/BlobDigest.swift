import Crypto

/// SHA-256 of blobs for the audit log: it can be traced who made a blob and who opened it, and nothing of it is shown.
enum BlobDigest {
    static func of(_ parts: [UInt8]...) -> [UInt8] {
        var digest = SHA256()
        for part in parts { part.withUnsafeBytes { digest.update(bufferPointer: $0) } }
        return Array(digest.finalize())
    }
}

extension Operation {
    /// Of the blob that is to be opened.
    var digest: [UInt8]? {
        switch self {
        case .unwrap(let blob, _), .rewrap(let blob, _): BlobDigest.of(blob)
        case .decrypt(let raw): BlobDigest.of(raw.keyID, raw.nonce, raw.ciphertext, raw.tag)
        case .wrap, .generateDataKey, .encrypt, .status, .metrics, .reload, .disconnect: nil
        }
    }
}

extension Answer {
    /// Of the blob that was made.
    var digest: [UInt8]? {
        switch self {
        case .wrapped(let blob, _), .dataKey(let blob, _, _): BlobDigest.of(blob)
        case .encrypted(let nonce, let ciphertext, let tag, let key): BlobDigest.of(key.id.bytes, nonce, ciphertext, tag)
        case .unwrapped, .decrypted, .status, .reloaded, .disconnected: nil
        }
    }

    /// The key version that was used.
    var key: KeyReference? {
        switch self {
        case .wrapped(_, let key), .unwrapped(_, let key), .dataKey(_, _, let key), .encrypted(_, _, _, let key), .decrypted(_, let key): key
        case .status, .reloaded, .disconnected: nil
        }
    }
}
