import Foundation

/// The newest checkpoint in the state directory: what the log must reach up to when the daemon starts again.
struct StateAnchor: Sendable {
    static let fileName = "audit-anchor"

    private let folder: String
    private var path: String { "\(folder)/\(Self.fileName)" }

    /// Makes the folder, for its owner alone, if it is not there.
    init(_ folder: String) throws(CustodyError) {
        self.folder = folder
        guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
            throw CustodyError(
                .auditUnavailable,
                """
                cannot make the state directory \(folder): \(String(cString: strerror(errno))); the daemon's user must be able \
                to write there
                """)
        }
    }

    /// nil if there is none.
    func read() throws(AuditFailure) -> AuditCheckpoint? {
        // Without O_NONBLOCK a pipe in its place would hold the daemon up for as long as nobody writes to it.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw AuditFailure(path, errno: errno)
        }
        defer { close(descriptor) }
        var content = [UInt8](repeating: 0, count: 1_024)
        let count = Glibc.read(descriptor, &content, content.count)
        guard count >= 0 else { throw AuditFailure(path, errno: errno) }
        content.removeSubrange(count...)
        let text = String(decoding: content, as: UTF8.self)
        guard text.hasSuffix("\n"), let anchor = AuditCheckpoint(text: String(text.dropLast())) else {
            throw AuditFailure("\(path): this is no anchor of an audit log")
        }
        return anchor
    }

    /// Replaces it; whenever the machine dies, the old one or the new one is there.
    func write(_ checkpoint: AuditCheckpoint) throws(AuditFailure) {
        do {
            try AtomicFile.replace(path, with: Array((checkpoint.text + "\n").utf8))
        } catch {
            throw AuditFailure(error.description)
        }
    }
}
