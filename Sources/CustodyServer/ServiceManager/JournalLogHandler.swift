import ByteEncoding
import CSystemShim
import Foundation
import Glibc
import Logging
import Synchronization

/// Writes log lines to the systemd journal by its native protocol: a line has its priority, and each metadata entry is a field
/// of its own, such as `CUSTODY_TOKEN=`, by which `journalctl` finds it. The text of the line has them too, for people.
public struct JournalLogHandler: LogHandler {
    /// One socket for all copies of the handler.
    private final class Journal: Sendable {
        private let descriptor: Int32
        private let path: String
        /// How many lines were lost, and until when none is tried.
        private let lost = Mutex<(count: Int, until: ContinuousClock.Instant?)>((0, nil))

        /// A journal that does not read holds nobody up for longer than this in each second: the event loop logs too.
        private static let patienceMilliseconds: Int32 = 100
        private static let pause = Duration.seconds(1)

        init?(path: String) {
            descriptor = csystem_journal_open(Self.patienceMilliseconds)
            self.path = path
            guard descriptor >= 0 else { return nil }
        }

        deinit { close(descriptor) }

        func send(_ fields: [(name: String, value: String)]) {
            let now = ContinuousClock.now
            // Taken, so that one line alone tells of them.
            let missing: Int? = lost.withLock { lost in
                if let until = lost.until, now < until {
                    lost.count += 1
                    return nil
                }
                defer { lost.count = 0 }
                return lost.count
            }
            guard let missing else { return }
            let start = ContinuousClock.now
            let isSent = transmit(missing == 0 ? fields : fields + [("CUSTODY_LOST_LINES", "\(missing)")])
            // One that is not there refuses at once and costs nothing.
            let isSlow = start.duration(to: .now) > .milliseconds(50)
            lost.withLock { lost in
                lost.until = isSent || !isSlow ? nil : .now + Self.pause
                if !isSent { lost.count += missing + 1 }
            }
        }

        private func transmit(_ fields: [(name: String, value: String)]) -> Bool {
            var entry: [UInt8] = []
            for (name, value) in fields {
                // The form for values of any content: the name, the length in 8 bytes, the value.
                entry.append(contentsOf: name.utf8)
                entry.append(0x0A)
                withUnsafeBytes(of: UInt64(value.utf8.count).littleEndian) { entry.append(contentsOf: $0) }
                entry.append(contentsOf: value.utf8)
                entry.append(0x0A)
            }
            return csystem_journal_send(descriptor, path, entry, entry.count) == 0
        }
    }

    public var metadata: Logger.Metadata = [:]
    public var metadataProvider: Logger.MetadataProvider?
    public var logLevel = Logger.Level.info
    private let identifier: String
    private let journal: Journal

    /// - Parameters:
    ///   - identifier: What the journal calls the program (SYSLOG_IDENTIFIER).
    ///   - path: The journal's socket.
    /// - Returns: Nil if there can be no socket to write to it.
    public init?(identifier: String, path: String = "/run/systemd/journal/socket") {
        guard let journal = Journal(path: path) else { return nil }
        self.identifier = identifier
        self.journal = journal
    }

    /// Whether the standard error output leads to the journal, as systemd.exec(5) has a program find out ($JOURNAL_STREAM): what is
    /// written there should rather be sent to the journal itself.
    public static func isWanted(_ environment: [String: String] = ProcessInfo.processInfo.environment) -> Bool {
        var info = stat()
        guard let stream = environment["JOURNAL_STREAM"], fstat(STDERR_FILENO, &info) == 0 else { return false }
        return stream == "\(info.st_dev):\(info.st_ino)"
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        let all = metadata
            .merging(metadataProvider?.get() ?? [:]) { $1 }
            .merging(event.metadata ?? [:]) { $1 }
            .map { (key: $0.key, value: "\($0.value)") }
            .sorted { $0.key < $1.key }
        let text = ([VisibleText.escaped(event.message.description)] + all.map { "\($0.key)=\(VisibleText.escaped($0.value))" }).joined(separator: " ")
        journal.send(
            [
                ("MESSAGE", text), ("PRIORITY", "\(event.level.journalPriority)"), ("SYSLOG_IDENTIFIER", identifier),
                ("CUSTODY_EVENT", event.message.description),
            ] + all.map { (Self.fieldName($0.key), $0.value) })
    }

    /// A name that the journal takes: upper-case letters, digits and underscores, 64 at most.
    private static func fieldName(_ key: String) -> String {
        let allowed = key.uppercased().unicodeScalars.map { scalar in
            ("A"..."Z").contains(scalar) || ("0"..."9").contains(scalar) ? Character(scalar) : "_"
        }
        return "CUSTODY_" + String(allowed.prefix(56))
    }
}

extension Logger.Level {
    /// syslog(3)'s.
    fileprivate var journalPriority: Int {
        switch self {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }
}
