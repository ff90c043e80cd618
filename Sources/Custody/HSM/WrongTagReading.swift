import PKCS11

/// How the daemon reads this token's answer to a ciphertext with a wrong tag, by the table of faults.
public enum WrongTagReading: Sendable, Hashable {
    /// The code says so without doubt.
    case badData
    /// The code may as well mean a broken token: a canary operation decides, which costs time.
    case canaryDecides
    /// The daemon would drop the session, or the whole connection, for a caller's bad ciphertext.
    case brokenToken

    public init(_ error: PKCS11Error) {
        self =
            switch Fault(error) {
            case .data: .badData
            case .ambiguous: .canaryDecides
            default: .brokenToken
            }
    }
}
