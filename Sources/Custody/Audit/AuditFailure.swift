import Glibc

/// Why a line of the audit log could not be written, or not be made to last.
struct AuditFailure: Error, Sendable {
    /// Which file or socket, and what the system said.
    let cause: String

    init(_ cause: String) { self.cause = cause }

    init(_ subject: String, errno code: Int32) { cause = "\(subject): \(String(cString: strerror(code)))" }

    /// What callers are told.
    var error: CustodyError {
        CustodyError(
            .auditUnavailable, "the audit log can't be written, so nothing is done; the operator has to make room or repair it",
            cause: cause, retryAfterMilliseconds: 1_000)
    }
}
