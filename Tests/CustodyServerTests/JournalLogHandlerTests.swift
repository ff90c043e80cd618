import Foundation
import Logging
import TestSupport
import Testing

@testable import CustodyServer

@Suite struct JournalLogHandlerTests {
    private let directory: TemporaryDirectory
    private let journal: DatagramSocket

    init() throws {
        directory = try TemporaryDirectory()
        journal = try DatagramSocket(directory.file("journal"))
    }

    /// The fields of the next entry, as systemd's native protocol has them.
    private func receive() throws -> [String: String] {
        var rest = try journal.receiveBytes()[...]
        var fields: [String: String] = [:]
        while let end = rest.firstIndex(of: 0x0A) {
            let name = String(decoding: rest[..<end], as: UTF8.self)
            rest = rest[(end + 1)...]
            let length = rest.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
            fields[name] = String(decoding: rest.dropFirst(8).prefix(length), as: UTF8.self)
            rest = rest.dropFirst(8 + length + 1)
        }
        return fields
    }

    private func logger() throws -> Logger {
        let handler = try #require(JournalLogHandler(identifier: "custodyd", path: journal.path))
        var log = Logger(label: "custodyd") { _ in handler }
        log.logLevel = .trace
        return log
    }

    @Test func metadataAreFieldsAndText() throws {
        var log = try logger()
        log[metadataKey: "connection"] = "7"
        log.warning("token degraded", metadata: ["reason": "two\nlines", "look-interval": "5 s"])
        let fields = try receive()
        #expect(fields["MESSAGE"] == "token degraded connection=7 look-interval=5 s reason=two\\nlines", "its text is one line")
        #expect(fields["PRIORITY"] == "4")
        #expect(fields["SYSLOG_IDENTIFIER"] == "custodyd")
        #expect(fields["CUSTODY_EVENT"] == "token degraded")
        #expect(fields["CUSTODY_CONNECTION"] == "7")
        #expect(fields["CUSTODY_LOOK_INTERVAL"] == "5 s")
        #expect(fields["CUSTODY_REASON"] == "two\nlines")
    }

    @Test(arguments: [(Logger.Level.trace, "7"), (.debug, "7"), (.info, "6"), (.notice, "5"), (.warning, "4"), (.error, "3"), (.critical, "2")])
    func levelsArePriorities(_ level: Logger.Level, _ priority: String) throws {
        try logger().log(level: level, "a line")
        #expect(try receive()["PRIORITY"] == priority)
    }

    /// A journal that is restarted must not end the daemon, and what was lost is said.
    @Test func lostLinesAreCounted() throws {
        let path = directory.file("later")
        let handler = try #require(JournalLogHandler(identifier: "custodyd", path: path))
        let log = Logger(label: "custodyd") { _ in handler }
        log.notice("nobody hears this")
        log.notice("nor this")
        let late = try DatagramSocket(path)
        log.notice("but this")
        log.notice("and this")
        let first = String(decoding: try late.receiveBytes(), as: UTF8.self)
        #expect(first.contains("but this"))
        #expect(first.contains("CUSTODY_LOST_LINES\n\u{1}\0\0\0\0\0\0\0" + "2\n"))
        #expect(try !String(decoding: late.receiveBytes(), as: UTF8.self).contains("LOST"))
    }

    @Test func theEnvironmentTells() {
        var info = stat()
        #expect(fstat(STDERR_FILENO, &info) == 0)
        #expect(JournalLogHandler.isWanted(["JOURNAL_STREAM": "\(info.st_dev):\(info.st_ino)"]))
        // It is the journal's, but the output leads elsewhere meanwhile.
        #expect(!JournalLogHandler.isWanted(["JOURNAL_STREAM": "\(info.st_dev):\(info.st_ino + 1)"]))
        #expect(!JournalLogHandler.isWanted([:]))
    }
}
