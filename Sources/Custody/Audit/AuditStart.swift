import ByteEncoding

/// How the log goes on when the daemon starts: from what is in its file, or in the one that was put aside by a rotation,
/// and from what the anchor says must have been there.
struct AuditStart: Sendable {
    let log: [UInt8]
    /// The number of the line before the next.
    let sequence: UInt64
    /// The hash from which the chain goes on.
    let hash: [UInt8]
    /// The line that tells of it.
    let event: AuditEvent

    /// - Parameters:
    ///   - file: The end of the file.
    ///   - predecessor: The end of the file before it; only asked for if the file has no lines.
    ///   - anchor: The newest word of the token on the log, as far as the state directory knows.
    ///   - objection: What speaks against the log's being the one that the anchor vouches for.
    init(
        file: AuditTail, predecessor: () -> AuditTail?, anchor: AuditCheckpoint?,
        objection: (AuditCheckpoint, AuditTail.Line) -> String?
    ) {
        let isEmpty = file.line == nil && file.unreadableLines == 0
        let tail = isEmpty ? predecessor() ?? file : file
        let log = tail.log ?? anchor?.log ?? Self.newLog()
        let last = tail.line?.sequence ?? 0
        let hash = tail.line?.hash ?? AuditChain.origin
        let known = max(last + UInt64(tail.unreadableLines), anchor?.sequence ?? 0)
        self.log = log
        self.hash = hash

        var firstMissing = last + 1
        let reason: String?
        if let anchor, anchor.log != log {
            firstMissing = 1
            reason = "the anchor vouches for another log, \(hexadecimal(anchor.log)), up to line \(anchor.sequence)"
        } else if tail.unreadableLines > 0 {
            reason = "what stands behind line \(last) is none of the log's"
        } else if let anchor, tail.line == nil {
            reason = "there is no file with lines of the log, but the anchor vouches for line \(anchor.sequence)"
        } else if let anchor, anchor.sequence > last {
            reason = "the log ends at line \(last), but the anchor vouches for line \(anchor.sequence)"
        } else if let anchor, let line = tail.line, let objection = objection(anchor, line) {
            // It goes far enough, but it is not the log that the token has vouched for.
            firstMissing = anchor.sequence
            reason = objection
        } else {
            reason = nil
        }
        if let reason {
            sequence = known
            event = .resumes(
                log: log, previous: hash, reason: reason, missing: firstMissing...max(firstMissing, known),
                tornBytes: file.tornBytes)
        } else {
            sequence = last
            event = tail.line == nil ? .begins(log: log) : .continues(log: log, previous: hash, tornBytes: file.tornBytes)
        }
    }

    private static func newLog() -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<16).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    }
}
