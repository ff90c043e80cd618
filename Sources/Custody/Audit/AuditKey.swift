import PKCS11

/// The key on the token that authenticates checkpoints of the audit log: an HMAC-SHA-256 key that cannot leave it.
public struct AuditKey: Sendable, Hashable {
    /// Its CKA_LABEL.
    public static let label = "custody-audit"

    public let id: KeyID
    public let object: ObjectHandle

    /// The newest audit key of the token; nil if it has none.
    public static func find(_ session: borrowing Session) throws(PKCS11Error) -> AuditKey? {
        try all(session).max { $0.id.version < $1.id.version }
    }

    /// Every audit key of the token: after a rotation older checkpoints are checked with older ones.
    public static func all(_ session: borrowing Session) throws(PKCS11Error) -> [AuditKey] {
        var found: [AuditKey] = []
        for object in try session.objects(.secretKey, matching: [.bool(.token, true), .keyType(.genericSecret), .label(label)]) {
            let attributes = try session.attributes(of: object, [.id, .extractable, .sensitive])
            // One that can leave the token vouches for nothing.
            guard let id = KeyID(attributes.bytes(.id) ?? []), id.version > 0, attributes.bool(.extractable) == false,
                attributes.bool(.sensitive) == true
            else { continue }
            found.append(AuditKey(id: id, object: object))
        }
        return found
    }

    /// The HMAC of a checkpoint's message.
    public func mac(of message: [UInt8], _ session: borrowing Session) throws(PKCS11Error) -> [UInt8] {
        try session.hmacSHA256(object, of: message)
    }
}
