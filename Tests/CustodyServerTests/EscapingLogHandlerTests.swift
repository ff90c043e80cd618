import CustodyServer
import Logging
import Synchronization
import Testing

/// A line of the daemon's log is a line, whatever stands in it.
@Suite struct EscapingLogHandlerTests {
    private final class Lines: Sendable {
        let all = Mutex<[String]>([])
    }

    private struct Recorder: LogHandler {
        var metadata: Logger.Metadata = [:]
        var metadataProvider: Logger.MetadataProvider?
        var logLevel = Logger.Level.info
        let lines: Lines

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let all = metadata.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            lines.all.withLock { $0.append(([event.message.description] + all).joined(separator: " ")) }
        }
    }

    @Test func everythingIsEscaped() {
        let lines = Lines()
        var log = Logger(label: "test") { _ in EscapingLogHandler(Recorder(lines: lines)) }
        log[metadataKey: "token"] = "a\nb"
        log.warning("lost\u{1B}[2J", metadata: ["cause": "\u{9B}\u{202E}x\\", "list": ["c\nd", "e"]])
        log.debug("not wanted")
        #expect(lines.all.withLock { $0 } == [#"lost\u{1b}[2J cause=\u{9b}\u{202e}x\\ list=["c\\nd", "e"] token=a\nb"#])
    }
}
