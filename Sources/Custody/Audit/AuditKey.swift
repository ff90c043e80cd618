import PKCS11

/// The key on the token that authenticates checkpoints of the audit log: an HMAC-SHA-256 key that cannot leave it.
///
/// There is one only if it passes the proof of custody, see ``AuditKeys``: a label can be written by anybody.
public struct AuditKey: Sendable, Hashable {
    /// Its CKA_LABEL.
    public static let label = "custody-audit"

    public let id: KeyID
    public let object: ObjectHandle
    /// What the trial to take it out of the token showed.
    public let trial: ProofOfCustody.Trial
    /// What CKA_LOCAL says: whether it was made on this token. nil if the token does not tell.
    public let isLocal: Bool?

    /// The newest audit key of the token; nil if it has none.
    public static func find(_ session: borrowing Session) throws(PKCS11Error) -> AuditKey? {
        try AuditKeys(session).newest
    }

    /// Every audit key of the token: after a rotation older checkpoints are checked with older ones.
    public static func all(_ session: borrowing Session) throws(PKCS11Error) -> [AuditKey] {
        try AuditKeys(session).believed
    }

    /// The HMAC of a checkpoint's message.
    public func mac(of message: [UInt8], _ session: borrowing Session) throws(PKCS11Error) -> [UInt8] {
        try session.hmacSHA256(object, of: message)
    }

    /// Why it is believed, in a line.
    public var proof: String {
        let made = isLocal == nil ? "the token does not tell where it was made" : "made on this token"
        let kept =
            switch trial.verdict {
            case .refused: "taking it out was tried and refused (\(trial.refused.map(\.description).joined(separator: ", ")))"
            default: trial.warning ?? "taking it out was not tried"
            }
        return "private, sensitive and never extractable; \(made); \(kept)"
    }
}
