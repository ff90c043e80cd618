import Glibc
import Synchronization

/// The audit log: one JSON line per decision, written before the answer leaves.
///
/// Lines are appended to a file of mode 0600 by one `write` per batch. A line is whole or not there at all: what a failed
/// write left behind is cut off again. If a line can't be written, the operations that it tells of fail.
public final class AuditLog: Sendable {
    private struct State {
        var sequence: UInt64 = 0
        var isWritable = true
        var clock = WallClock()
    }

    /// Where the log is, for messages.
    public let path: String
    private let descriptor: Int32
    private let state = Mutex(State())

    /// Opens or creates the log.
    ///
    /// - Throws: ``CustodyError`` with `auditUnavailable`.
    public init(_ settings: AuditSettings) throws(CustodyError) {
        let path = settings.file
        self.path = path
        descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            throw CustodyError(
                .auditUnavailable,
                "cannot open the audit log \(path): \(String(cString: strerror(errno))); the daemon's user must be able to write there")
        }
        // Two daemons' lines in one file would make no sense of either's; the lock goes with the descriptor.
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw CustodyError(.auditUnavailable, "another daemon writes the audit log \(path); stop it or set another `audit.file`")
        }
    }

    deinit { close(descriptor) }

    func note(_ event: AuditEvent) throws(CustodyError) {}
    var report: AuditReport {
        AuditReport(file: path, durability: "write", failure: nil, sequence: 0, checkpoint: nil, checkpointFailure: nil, anchor: "")
    }

    /// Whether the latest batch could be written.
    public var isWritable: Bool { state.withLock { $0.isWritable } }

    /// Writes the records, all or none.
    ///
    /// - Throws: ``CustodyError`` with `auditUnavailable`; then nothing may be answered but this error.
    func append(_ records: [AuditRecord]) throws(CustodyError) {
        guard !records.isEmpty else { return }
        let failure: Int32? = state.withLock { state in
            var lines: [UInt8] = []
            lines.reserveCapacity(records.count * 384)
            let time = state.clock.now()
            for (index, record) in records.enumerated() {
                record.appendLine(to: &lines, time: time, sequence: state.sequence + UInt64(index) + 1)
            }
            let failure = write(lines)
            state.isWritable = failure == nil
            if failure == nil { state.sequence += UInt64(records.count) }
            return failure
        }
        if let failure {
            throw CustodyError(
                .auditUnavailable, "the audit log can't be written, so nothing is done; the operator has to make room or repair it",
                cause: "\(path): \(String(cString: strerror(failure)))", retryAfterMilliseconds: 1_000)
        }
    }

    /// Returns the errno of a failure.
    private func write(_ lines: [UInt8]) -> Int32? {
        var written = 0
        while written < lines.count {
            let count = lines.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress.map { $0 + written }, $0.count - written) }
            if count > 0 {
                written += count
            } else if errno != EINTR {
                let failure = errno
                if written > 0 {
                    let end = lseek(descriptor, 0, SEEK_END)
                    if end >= off_t(written) { _ = ftruncate(descriptor, end - off_t(written)) }
                }
                return failure
            }
        }
        return nil
    }
}

/// The time of day in UTC as RFC 3339 with microseconds; the date's text is made once a second.
private struct WallClock {
    private var second = -1
    private var prefix = ""

    mutating func now() -> String {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        if time.tv_sec != second {
            var parts = tm()
            gmtime_r(&time.tv_sec, &parts)
            second = time.tv_sec
            prefix = [
                pad(Int(parts.tm_year) + 1900, 4), "-", pad(Int(parts.tm_mon) + 1, 2), "-", pad(Int(parts.tm_mday), 2), "T",
                pad(Int(parts.tm_hour), 2), ":", pad(Int(parts.tm_min), 2), ":", pad(Int(parts.tm_sec), 2), ".",
            ].joined()
        }
        return prefix + pad(time.tv_nsec / 1000, 6) + "Z"
    }

    private func pad(_ value: Int, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}
