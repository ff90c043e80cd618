import Glibc

/// A checkpoint that is kept outside of the log: it says up to where the log must reach at least.
public struct AuditAnchor: Sendable, Hashable {
    /// Its name in the daemon's state directory.
    public static let fileName = "audit-anchor"

    public let checkpoint: AuditCheckpoint
    /// Where it is kept, for messages.
    public let place: String
    /// A token holds anchors of other daemons' logs as well, which say nothing of this one.
    public let mayBeOfAnotherLog: Bool

    public init(_ checkpoint: AuditCheckpoint, place: String, mayBeOfAnotherLog: Bool = false) {
        self.checkpoint = checkpoint
        self.place = place
        self.mayBeOfAnotherLog = mayBeOfAnotherLog
    }

    /// What reading an anchor's file gave.
    public enum Reading: Sendable {
        case anchor(AuditAnchor)
        /// There is no such file, or this user can't read it: the errno.
        case unreadable(Int32)
        /// It holds something else, or is no file.
        case damaged
    }

    /// Reads a file of one line, ``AuditCheckpoint/text``.
    public static func read(_ path: String) -> Reading {
        // Without O_NONBLOCK a pipe in its place would be waited for.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return .unreadable(errno) }
        var reader = AuditLineReader(descriptor, limit: 4_096)
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return .damaged }
        let line: ArraySlice<UInt8>?
        do throws(AuditLineReader.Failure) { line = try reader.next() } catch { return .unreadable(error.number) }
        guard var bytes = line else { return .damaged }
        if bytes.last == 0x0A { bytes = bytes.dropLast() }
        guard let text = String(validating: bytes, as: UTF8.self), let checkpoint = AuditCheckpoint(text: text) else { return .damaged }
        return .anchor(AuditAnchor(checkpoint, place: path))
    }
}
