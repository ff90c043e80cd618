import Logging
import Synchronization
import Testing

@testable import CustodyServer

/// A flood of what is wrong is not a flood of lines.
@Suite struct DoorLogTests {
    /// Keeps the lines.
    private final class Lines: LogHandler {
        let lines = Mutex<[String]>([])
        var metadata: Logger.Metadata { get { [:] } set {} }
        var logLevel: Logger.Level { get { .trace } set {} }
        subscript(metadataKey key: String) -> Logger.Metadata.Value? { get { nil } set {} }

        func log(event: LogEvent) {
            let fields = (event.metadata ?? [:]).map { "\($0.key)=\($0.value)" }.sorted().joined(separator: " ")
            lines.withLock { $0.append("\(event.message) \(fields)") }
        }
    }

    @Test func oneLineASecondOfEachKindAndUser() {
        let lines = Lines()
        let log = DoorLog(Logger(label: "test") { _ in lines })
        let start = ContinuousClock.now
        func seen() -> [String] {
            lines.lines.withLock { lines in
                defer { lines = [] }
                return lines
            }
        }
        for _ in 0..<1_000 { log.note("refused", 7, now: start) { ["uid": "7"] } }
        log.note("refused", 8, now: start) { ["uid": "8"] }
        log.note("bad frame", 7, now: start) { ["uid": "7"] }
        #expect(seen() == ["refused uid=7", "refused uid=8", "bad frame uid=7"])
        log.note("refused", 7, now: start + .seconds(1)) { ["uid": "7"] }
        #expect(seen() == ["refused leftOut=999 uid=7"])
        for _ in 0..<5 { log.note("refused", 7, now: start + .milliseconds(1_500)) { [:] } }
        log.sweep(now: start + .milliseconds(1_900))
        #expect(seen().isEmpty)
        log.sweep(now: start + .seconds(2))
        #expect(seen() == ["refused leftOut=5 uid=7"])
        log.sweep(now: start + .seconds(9))
        #expect(seen().isEmpty)
        // A flood of users writes no line for each.
        for account: UInt32 in 0..<100_000 { log.note("refused", account, now: start + .seconds(10)) { [:] } }
        #expect(seen().count < 300)
    }
}
