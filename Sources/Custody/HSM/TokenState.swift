import PKCS11

/// The state of the connection to the token, as seen from outside.
public enum TokenState: Sendable {
    /// Logged in; operations are served.
    case ready(TokenInfo)
    /// Operations are served, but not as they should be; why.
    case degraded(TokenInfo, String)
    /// Being connected, for the first time or again; no attempt has failed since.
    case recovering
    /// The PIN was refused or is locked. No login is tried until an operator acts.
    case locked(CustodyError)
    /// The token can't be reached; tried again with growing pauses.
    case unavailable(CustodyError)

    /// A word for logs.
    public var name: String {
        switch self {
        case .ready: "ready"
        case .degraded: "degraded"
        case .recovering: "recovering"
        case .locked: "locked"
        case .unavailable: "unavailable"
        }
    }

    /// Why it is so, if it is not as it should be.
    var detail: String? {
        switch self {
        case .ready, .recovering: nil
        case .degraded(_, let reason): reason
        case .locked(let error), .unavailable(let error): error.cause ?? error.message
        }
    }

    /// Whether operations on keys are served.
    public var isServing: Bool {
        switch self {
        case .ready, .degraded: true
        case .recovering, .locked, .unavailable: false
        }
    }
}

/// What is known of the token without asking it.
public struct TokenReport: Sendable {
    public var state: TokenState
    /// Since when it is in this state, in milliseconds since 1970.
    public var sinceMilliseconds: UInt64
    public var health = TokenHealth()
}

/// How the token does.
public struct TokenHealth: Sendable {
    /// When the token last did what it was asked for, and when the canary last did, in milliseconds since 1970; nil: never.
    public var latestSuccess: UInt64?
    public var latestCanary: UInt64?
    /// How long the canary took.
    public var canaryDuration = Duration.zero
    /// Logins tried, and connections lost, since the start.
    public var logins: UInt64 = 0
    public var losses: UInt64 = 0
    /// Threads that hang in a call of the module now, and how many may.
    public var hungThreads = 0
    public var hungThreadsLimit = 0
}
