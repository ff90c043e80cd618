import PKCS11

/// The state of the connection to the token, as seen from outside.
public enum TokenState: Sendable {
    /// Logged in; operations are served.
    case ready(TokenInfo)
    /// Being connected, for the first time or again.
    case connecting
    /// The PIN was refused or is locked. No login is tried until an operator acts.
    case locked(CustodyError)
    /// The token can't be reached; tried again with growing pauses.
    case unavailable(CustodyError)

    /// A word for logs.
    public var name: String {
        switch self {
        case .ready: "ready"
        case .connecting: "connecting"
        case .locked: "locked"
        case .unavailable: "unavailable"
        }
    }
}
