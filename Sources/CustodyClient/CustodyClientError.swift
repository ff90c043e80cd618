import CustodyProtocol

/// Why a call failed.
public struct CustodyClientError: Error, Sendable, CustomStringConvertible {
    public enum Code: Sendable, Hashable {
        /// The server answered with this error.
        case server(ErrorCode)
        /// No connection could be made within the deadline.
        case cannotConnect
        /// The connection broke before the answer came, and the deadline left no time for another try.
        case connectionLost
        /// No answer came within the deadline. The server may have done the operation all the same.
        case deadlineExceeded
        /// The task that made the call was cancelled.
        case cancelled
        /// The server's bytes are not an answer of this protocol.
        case protocolViolation
        /// The request can't be sent: it is longer than a frame may be.
        case requestTooLarge
        /// The client was shut down.
        case shutDown
    }

    public var code: Code
    /// What happened and what to do next.
    public var message: String
    /// After how long the server finds another try sensible; nil if it does not.
    public var retryAfter: Duration?

    public init(_ code: Code, _ message: String, retryAfter: Duration? = nil) {
        self.code = code
        self.message = message
        self.retryAfter = retryAfter
    }

    init(_ error: WireError) {
        code = .server(ErrorCode(rawValue: error.code))
        message = error.message
        retryAfter = error.retryAfterMs == 0 ? nil : .milliseconds(error.retryAfterMs)
    }

    public var description: String {
        if case .server(let code) = code, message != code.description { return "\(code): \(message)" }
        return message
    }
}
