/// Why an operation was not done. The server gives code and message to the caller; the cause stays in the log.
public struct CustodyError: Error, Sendable, CustomStringConvertible {
    public enum Code: String, Sendable, Hashable, CaseIterable {
        case invalidRequest = "invalid-request"
        case unknownOperation = "unknown-operation"
        case payloadTooLarge = "payload-too-large"
        case invalidContext = "invalid-context"
        case malformedBlob = "malformed-blob"
        case unsupportedFormat = "unsupported-format"
        case denied = "denied"
        case keyNotFound = "key-not-found"
        case keyNotUsable = "key-not-usable"
        case keyRefused = "key-refused"
        /// The version has been used as often as its nonces allow.
        case keyExhausted = "key-exhausted"
        case configurationInvalid = "configuration-invalid"
        /// A limit of the configuration is used up for now.
        case rateLimited = "rate-limited"
        case decryptionFailed = "decryption-failed"
        case overloaded = "overloaded"
        case deadlineExceeded = "deadline-exceeded"
        case tokenUnavailable = "token-unavailable"
        case tokenLocked = "token-locked"
        case auditUnavailable = "audit-unavailable"
        /// The file that counts the uses of keys can't be written.
        case stateUnavailable = "state-unavailable"
        case shuttingDown = "shutting-down"
        case internalError = "internal-error"
    }

    public var code: Code
    /// What happened and what to do next, for the caller.
    public var message: String
    /// What led to it, for the log: never bytes, never a PIN.
    public var cause: String?
    /// After how many milliseconds another try is sensible; nil if it is not.
    public var retryAfterMilliseconds: Int?

    public init(_ code: Code, _ message: String, cause: String? = nil, retryAfterMilliseconds: Int? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
        self.retryAfterMilliseconds = retryAfterMilliseconds
    }

    public var description: String {
        cause.map { "\(code.rawValue): \(message) (\($0))" } ?? "\(code.rawValue): \(message)"
    }
}
