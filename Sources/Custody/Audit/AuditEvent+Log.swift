import ByteEncoding

/// The events that the log itself writes.
extension AuditEvent {
    /// The first line of a new log.
    static func begins(log: [UInt8]) -> AuditEvent { AuditEvent("log-begins", [("log", .text(hexadecimal(log)))]) }

    /// The first line of a file after a rotation, and of a daemon that was started.
    static func continues(log: [UInt8], previous: [UInt8], tornBytes: Int = 0) -> AuditEvent {
        AuditEvent(
            "log-continues", [("log", .text(hexadecimal(log))), ("previous", .text(hexadecimal(previous)))] + torn(tornBytes))
    }

    /// Lines that existed are not there any more.
    static func resumes(
        log: [UInt8], previous: [UInt8], reason: String, missing: ClosedRange<UInt64>, tornBytes: Int = 0
    ) -> AuditEvent {
        AuditEvent(
            "log-resumes",
            [
                ("log", .text(hexadecimal(log))), ("previous", .text(hexadecimal(previous))), ("reason", .text(reason)),
                ("missing_from", .number(missing.lowerBound)), ("missing_to", .number(missing.upperBound)),
            ] + torn(tornBytes))
    }

    private static func torn(_ bytes: Int) -> [(String, Value)] {
        bytes > 0 ? [("torn_bytes", .number(UInt64(bytes)))] : []
    }

    /// It could not be written for a while, and nothing was done in that time.
    static func writableAgain(failedFor duration: Duration, reason: String) -> AuditEvent {
        return AuditEvent(
            "log-writable-again",
            [("failed_for_ms", .number(UInt64(clamping: duration.milliseconds))), ("reason", .text(reason))])
    }

    static let checkpointName = "checkpoint"

    static func checkpoint(_ checkpoint: AuditCheckpoint) -> AuditEvent {
        AuditEvent(
            checkpointName,
            [
                ("log", .text(hexadecimal(checkpoint.log))), ("covers", .number(checkpoint.sequence)),
                ("covered_hash", .text(hexadecimal(checkpoint.hash))), ("key_id", .text(hexadecimal(checkpoint.keyID))),
                ("mac", .text(hexadecimal(checkpoint.mac))),
            ])
    }

    /// The token vouches for a line that is not there, or is another one now.
    static func anchorUnmet(_ anchor: AuditCheckpoint, reason: String) -> AuditEvent {
        AuditEvent("anchor-unmet", [("covers", .number(anchor.sequence)), ("reason", .text(reason))])
    }
}
