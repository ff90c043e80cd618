/// The numbers of errors on the wire (field `code` of `Error`). A number is never given a new meaning.
///
/// A struct, not an enum: a client meets numbers of newer servers.
public struct ErrorCode: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    // The request is at fault; sending it again changes nothing.
    public static let invalidRequest = ErrorCode(rawValue: 1)
    public static let unknownOperation = ErrorCode(rawValue: 2)
    public static let payloadTooLarge = ErrorCode(rawValue: 3)
    public static let invalidContext = ErrorCode(rawValue: 4)
    public static let malformedBlob = ErrorCode(rawValue: 5)
    public static let unsupportedFormat = ErrorCode(rawValue: 6)
    public static let decryptionFailed = ErrorCode(rawValue: 7)

    // The frame is at fault; the server closes the connection after this answer.
    public static let frameTooLarge = ErrorCode(rawValue: 20)
    public static let unsupportedProtocol = ErrorCode(rawValue: 21)

    // Policy and keys: an operator may change it.
    public static let denied = ErrorCode(rawValue: 40)
    public static let keyNotFound = ErrorCode(rawValue: 41)
    public static let keyNotUsable = ErrorCode(rawValue: 42)
    public static let keyRefused = ErrorCode(rawValue: 43)
    public static let keyExhausted = ErrorCode(rawValue: 44)
    public static let configurationInvalid = ErrorCode(rawValue: 45)

    // The daemon or the HSM can't serve now.
    public static let overloaded = ErrorCode(rawValue: 60)
    public static let deadlineExceeded = ErrorCode(rawValue: 61)
    public static let tokenUnavailable = ErrorCode(rawValue: 62)
    public static let tokenLocked = ErrorCode(rawValue: 63)
    public static let auditUnavailable = ErrorCode(rawValue: 64)
    public static let shuttingDown = ErrorCode(rawValue: 65)
    public static let internalError = ErrorCode(rawValue: 66)
    public static let rateLimited = ErrorCode(rawValue: 67)
    public static let stateUnavailable = ErrorCode(rawValue: 68)

    private static let names: [ErrorCode: String] = [
        .invalidRequest: "invalid-request", .unknownOperation: "unknown-operation",
        .payloadTooLarge: "payload-too-large", .invalidContext: "invalid-context", .malformedBlob: "malformed-blob",
        .unsupportedFormat: "unsupported-format", .decryptionFailed: "decryption-failed",
        .frameTooLarge: "frame-too-large", .unsupportedProtocol: "unsupported-protocol", .denied: "denied",
        .keyNotFound: "key-not-found", .keyNotUsable: "key-not-usable", .keyRefused: "key-refused",
        .overloaded: "overloaded", .deadlineExceeded: "deadline-exceeded", .tokenUnavailable: "token-unavailable",
        .tokenLocked: "token-locked", .auditUnavailable: "audit-unavailable", .shuttingDown: "shutting-down",
        .internalError: "internal-error", .keyExhausted: "key-exhausted", .configurationInvalid: "configuration-invalid",
        .rateLimited: "rate-limited", .stateUnavailable: "state-unavailable",
    ]

    public var description: String { Self.names[self] ?? "error-\(rawValue)" }
}
