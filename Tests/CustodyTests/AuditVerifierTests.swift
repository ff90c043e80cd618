import ByteEncoding
import Testing

@testable import Custody

/// No change to a log passes, but for the one that is said to pass.
@Suite struct AuditVerifierTests {
    private let log = AuditTestLog.sample()

    private func joined(_ lines: [[UInt8]]) -> [UInt8] { lines.flatMap { $0 } }

    /// Whether the bytes, taken for one file, pass as this log.
    private func passes(_ lines: [[UInt8]]) -> Bool { log.verify([joined(lines)]).isWhole }

    @Test func theUntouchedLogPasses() throws {
        let report = log.verify { $0.fromStart = true }
        #expect(report.isWhole, "\(report.problems)")
        #expect(report.files == 2)
        #expect(report.lines == 10)
        #expect(report.firstSequence == 1 && report.lastSequence == 10)
        #expect(report.log == log.log)
        #expect(report.checkpoints == 3 && report.verifiedCheckpoints == 3)
        #expect(report.coveredUpTo == 8)
        #expect(report.windowLines == 2, "a decision, and the checkpoint itself")
        #expect(report.anchors.map(\.finding) == [.fits])
        #expect(report.longestStretch.lines == 3)
        #expect(report.longestStretch.seconds == 4)
        #expect(report.remarks.isEmpty)
        #expect(passes(log.lines), "where a file ends makes no difference")
    }

    // MARK: Every change of a kind

    @Test func everyChangedByteIsFound() {
        for (file, lines) in log.files.enumerated() {
            let original = joined(lines)
            for position in original.indices {
                let byte = original[position]
                for value in [byte &+ 1, byte &- 1, byte ^ 0x20, 0x0A, 0x20, 0x22] where value != byte {
                    var files = log.files.map(joined)
                    files[file][position] = value
                    let report = log.verify(files)
                    if report.isWhole { Issue.record("byte \(position) of file \(file) from \(byte) to \(value)") }
                }
            }
        }
    }

    @Test func everyRemovedOrAddedByteIsFound() {
        let original = joined(log.lines)
        for position in original.indices {
            var bytes = original
            let byte = bytes.remove(at: position)
            if bytes != original, log.verify([bytes]).isWhole { Issue.record("byte \(position) removed") }
            bytes.insert(contentsOf: [byte, 0x20], at: position)
            if log.verify([bytes]).isWhole { Issue.record("a space after byte \(position)") }
        }
    }

    @Test func everyTruncationIsFound() {
        let original = joined(log.lines)
        for count in original.indices where log.verify([Array(original.prefix(count))]).isWhole {
            Issue.record("cut to \(count) bytes")
        }
        for count in original.indices.dropFirst() where log.verify([Array(original.dropFirst(count))], { $0.beginsAnywhere = true; $0.fromStart = true }).isWhole {
            Issue.record("\(count) bytes cut off at the beginning")
        }
        // Whole files.
        let files = log.files.map(joined)
        #expect(log.verify([files[0]]).problems.first?.code == .cutBack)
        #expect(log.verify([files[0], []]).problems.first?.code == .empty)
        #expect(log.verify([[], files[1]]).problems.first?.code == .empty)
        #expect(log.verify([files[1]]).isWhole, "a missing beginning is only stated")
        #expect(log.verify([files[1]]).beginsAtBeginning == false)
        #expect(log.verify([files[1]]) { $0.fromStart = true }.problems.first?.code == .beginning)
        #expect(log.verify([]).problems.first?.code == .empty)
    }

    @Test func everyRemovedRepeatedOrMovedLineIsFound() {
        let lines = log.lines
        for first in lines.indices {
            // A missing beginning is seen where a file must begin.
            var removed = lines
            removed.remove(at: first)
            if passes(removed) { Issue.record("line \(first + 1) removed") }
            for second in lines.indices {
                var repeated = lines
                repeated.insert(lines[first], at: second)
                if passes(repeated) { Issue.record("line \(first + 1) repeated before \(second + 1)") }
                guard first != second else { continue }
                var swapped = lines
                swapped.swapAt(first, second)
                if passes(swapped) { Issue.record("lines \(first + 1) and \(second + 1) swapped") }
                var moved = lines
                moved.insert(moved.remove(at: first), at: second)
                if passes(moved) { Issue.record("line \(first + 1) moved to \(second + 1)") }
            }
            if passes(lines + [lines[first]]) { Issue.record("line \(first + 1) repeated at the end") }
        }
        for start in lines.indices {
            for end in lines.indices where end > start {
                var removed = lines
                removed.removeSubrange(start...end)
                // From the beginning to a line that may begin a file: a missing beginning, which is stated.
                let isStated = start == 0 && (end == 3 || end == 6)
                if passes(removed) != isStated { Issue.record("lines \(start + 1) to \(end + 1) removed") }
            }
        }
        #expect(!log.verify([joined(log.files[1]), joined(log.files[0])]).isWhole, "the files in the other order")
    }

    @Test func everyInsertedLineIsFound() {
        let lines = log.lines
        for position in 0...lines.count {
            // With the right hash and the right sequence at its place, and the lines after it as they were.
            var forged = AuditTestLog.rechained(Array(lines.prefix(position)) + [lines[1]], updatesCheckpoints: false)
            forged = Array(lines.prefix(position)) + [forged[position]] + Array(lines.dropFirst(position))
            // Behind the last line it stands in the window.
            if passes(forged) != (position == lines.count) { Issue.record("at \(position)") }
            for strange in ["\n", "{}\n", "null\n", "\u{FEFF}\n"] {
                var with = lines
                with.insert(Array(strange.utf8), at: position)
                if passes(with) { Issue.record("\(strange) at \(position)") }
            }
        }
    }

    // MARK: Who computes the hashes anew

    /// What passes is exactly the documented window: the lines after the one that the newest anchored checkpoint covers.
    @Test(arguments: [true, false]) func whoRechainsIsFoundUpToTheAnchoredCheckpoint(updatesCheckpoints: Bool) throws {
        let log = AuditTestLog.sample(after: 3)
        let covered = try #require(log.checkpoints.last).sequence
        let lines = log.lines
        for index in lines.indices {
            var edited = lines
            let text = String(decoding: lines[index], as: UTF8.self)
            // The clock's last digits: every line has them, and nothing else depends on them.
            edited[index] = Array(text.replacing(".123456Z", with: ".123457Z").utf8)
            try #require(edited[index] != lines[index])
            let isInWindow = UInt64(index + 1) > covered
            let bytes = joined(AuditTestLog.rechained(edited, updatesCheckpoints: updatesCheckpoints))
            #expect(log.verify([bytes]).isWhole == isInWindow, "line \(index + 1)")

            var removed = lines
            removed.remove(at: index)
            let isCheckpoint = AuditLine(lines[index][...])?.event == "checkpoint"
            let shortened = joined(AuditTestLog.rechained(removed, updatesCheckpoints: updatesCheckpoints))
            // The anchored checkpoint's own line stands in the window, but must be there.
            #expect(log.verify([shortened]).isWhole == (isInWindow && !isCheckpoint), "line \(index + 1) removed")
        }
    }

    /// Without a checkpoint nothing stops who computes the hashes anew, and without the token's word nobody knows.
    @Test func chainAloneDoesNotProveWho() {
        let attacker = AuditTestLog.sample()
        let mine = log
        // A log of the attacker's own making under the same name: consistent, but its checkpoints are not the token's.
        let files = attacker.files.map { $0.flatMap { $0 } }
        #expect(mine.verify(files, anchors: []) { $0.asksToken = false }.isWhole)
        #expect(mine.verify(files, anchors: []).problems.first?.code == .unknownKey)
        #expect(mine.verify(files) { $0.asksToken = false }.problems.first?.code == .otherLog)
    }

    // MARK: Anchors

    @Test func cutBackToAnOlderCheckpoint() {
        let lines = log.lines
        for count in 1..<lines.count {
            let bytes = joined(Array(lines.prefix(count)))
            let anchored = log.verify([bytes])
            #expect([.cutBack, .nothingVouched].contains(anchored.problems.first?.code), "cut to \(count) lines")
            // Exactly what the anchor is for.
            #expect(log.verify([bytes], anchors: []) { $0.asksToken = false }.isWhole, "cut to \(count) lines, with nothing that says so")
        }
        // Through the covered line: sequences reach as far as the anchor, but its checkpoint's line is missing.
        #expect(log.verify([joined(Array(lines.prefix(8)))]).problems.first?.code == .cutBack)
        #expect(log.verify(anchors: []).problems.first?.code == .noAnchor)
        #expect(log.verify(anchors: []) { $0.isPart = true }.isWhole)
        #expect(log.verify([joined(log.files[0])]) { $0.isPart = true }.isWhole)
    }

    @Test func anchorsThatDoNotFit() throws {
        let last = try #require(log.checkpoints.last)
        func changed(log other: [UInt8]? = nil, sequence: UInt64? = nil, hash: [UInt8]? = nil, key: FakeAuditKey? = nil) -> AuditCheckpoint {
            let key = key ?? log.key
            let message = AuditCheckpoint.message(
                log: other ?? last.log, sequence: sequence ?? last.sequence, hash: hash ?? last.hash, keyID: key.id.bytes)
            return AuditCheckpoint(
                log: other ?? last.log, sequence: sequence ?? last.sequence, hash: hash ?? last.hash, keyID: key.id.bytes, mac: key.mac(message))
        }
        func code(_ checkpoint: AuditCheckpoint, mayBeOfAnotherLog: Bool = false) -> AuditProblem.Code? {
            log.verify(anchors: [AuditAnchor(checkpoint, place: "there", mayBeOfAnotherLog: mayBeOfAnotherLog)]).problems.first?.code
        }
        #expect(code(last) == nil)
        #expect(code(log.checkpoints[0]) == nil, "an older one fits as well")
        #expect(code(changed(sequence: 11)) == .cutBack)
        #expect(code(changed(sequence: 9)) == .cutBack)
        #expect(code(changed(sequence: 7)) == .anchor)
        #expect(code(changed(hash: AuditChain.origin)) == .anchor)
        #expect(code(changed(key: FakeAuditKey())) == .unknownKey)
        #expect(code(changed(log: Array(repeating: 1, count: 16))) == .otherLog)
        #expect(code(changed(log: Array(repeating: 1, count: 16)), mayBeOfAnotherLog: true) == .noAnchor)
        // It is told all the same: the other log may be the one whose place this one took.
        let other = AuditAnchor(changed(log: Array(repeating: 1, count: 16)), place: "there", mayBeOfAnotherLog: true)
        #expect(log.verify(anchors: [other]).remarks.contains { $0.contains("has taken that one's place") })
        let forged = AuditCheckpoint(log: last.log, sequence: last.sequence, hash: last.hash, keyID: last.keyID, mac: AuditChain.origin)
        #expect(code(forged) == .anchor)
        // Every one of several counts.
        let both = log.anchors + [AuditAnchor(changed(sequence: 11), place: "token")]
        #expect(log.verify(anchors: both).problems.first?.code == .cutBack)
    }

    // MARK: Particular lines

    @Test func aCheckpointOfAnotherKeyOrLog() {
        var log = AuditTestLog.begun()
        log.decisions(1)
        log.checkpoint(covers: 2, key: FakeAuditKey())
        #expect(log.verify().problems.first?.code == .unknownKey)
        #expect(log.verify { $0.asksToken = false }.isWhole)

        var other = AuditTestLog.begun()
        let log1 = other.log
        other.log = Array(repeating: 9, count: 16)
        other.checkpoint(covers: 1)
        let report = other.verify()
        #expect(report.problems.first?.code == .mac, "genuine, but for another log")
        #expect(report.log == log1)
        #expect(report.problems.first?.line == 2)
        #expect(report.problems.first?.file == "file1")
    }

    @Test func aRepeatedCheckpointIsFoundEvenInTheWindow() {
        var log = AuditTestLog.sample()
        log.checkpoint(covers: 2)
        #expect(log.verify().problems.first?.code == .checkpoint)
        var ahead = AuditTestLog.begun()
        ahead.event("checkpoint", #""covers":2,"covered_hash":"\#(ahead.previous)","key_id":"\#(ahead.key.id)","mac":"\#(ahead.previous)""#)
        #expect(ahead.verify().problems.first?.code == .malformed)
    }

    @Test func linesThatTheDaemonFoundMissing() {
        var log = AuditTestLog.begun()
        log.decisions(2)
        log.checkpoint(covers: 3)
        log.event(
            "log-resumes",
            #""log":"\#(hexadecimal(log.log))","previous":"\#(log.previous)","reason":"the file is shorter","missing_from":5,"missing_to":9"#)
        log.decisions(1)
        log.checkpoint(covers: 6)
        let report = log.verify()
        #expect(report.problems.map(\.code) == [.lost])
        #expect(report.problems.first?.sequence == 5)
        #expect(report.problems.first?.message.contains("5 to 9") == true)
        #expect(!report.isStopped, "the chain after it is checked on")
        #expect(report.coveredUpTo == 6)
        // And is not taken for good.
        var lines = log.lines
        lines[5] = Array(String(decoding: lines[5], as: UTF8.self).replacing("\"uid\":1000", with: "\"uid\":1001").utf8)
        #expect(log.verify([joined(lines)]).problems.map(\.code) == [.lost, .hash])
    }

    @Test func aNewLogInsideOfTheOld() {
        let other = AuditTestLog.sample(key: log.key)
        let files = log.files.map(joined) + other.files.map(joined)
        let problem = log.verify(files).problems.first
        #expect(problem?.code == .otherLog)
        #expect(problem?.file == "file3" && problem?.line == 1)
    }

    @Test func nothingIsVouchedFor() {
        var log = AuditTestLog.begun()
        log.decisions(5)
        #expect(log.verify().problems.first?.code == .nothingVouched)
        let chain = log.verify { $0.asksToken = false }
        #expect(chain.isWhole)
        #expect(chain.windowLines == 6)
        #expect(chain.windowSince == chain.firstTime)
    }

    @Test func aStreamFromTheMiddle() throws {
        var log = AuditTestLog.begun()
        log.decisions(3)
        log.checkpoint(covers: 4)
        log.decisions(3)
        log.checkpoint(covers: 8)
        log.decisions(2)
        for start in 1..<7 {
            let bytes = joined(Array(log.lines.dropFirst(start)))
            #expect(log.verify([bytes]).problems.first?.code == .beginning)
            // The anchor tells which log it is.
            let report = log.verify([bytes]) { $0.beginsAnywhere = true }
            #expect(report.isWhole, "from line \(start + 1): \(report.problems)")
            #expect(report.log == log.log)
            #expect(report.remarks.count == 1, "its first line is not proven, and that is said")
        }
    }

    /// Neither an anchor nor a line before says which log it is, but the checkpoint does, and its MAC bears it out.
    @Test func aStreamWhoseCheckpointNamesTheLog() {
        func verified(naming name: [UInt8]?, asksToken: Bool = true) -> (report: AuditVerification, log: [UInt8]) {
            var log = AuditTestLog.begun()
            log.decisions(3)
            log.checkpoint(covers: 4, naming: name ?? log.log)
            log.decisions(2)
            let report = log.verify([joined(Array(log.lines.dropFirst(2)))], anchors: []) {
                $0.beginsAnywhere = true
                $0.isPart = true
                $0.asksToken = asksToken
            }
            return (report, log.log)
        }
        let (report, log) = verified(naming: nil)
        #expect(report.isWhole, "\(report.problems)")
        #expect(report.log == log && report.verifiedCheckpoints == 1 && report.coveredUpTo == 4)
        let (false1, _) = verified(naming: Array(repeating: 9, count: 16))
        #expect(false1.problems.map(\.code) == [.mac])
        #expect(false1.log == nil, "nobody believes it")
        let (chain, chainLog) = verified(naming: nil, asksToken: false)
        #expect(chain.isWhole && chain.log == chainLog && chain.coveredUpTo == 4)
    }

    @Test func aClockThatGoesBackIsARemark() {
        var log = AuditTestLog.begun()
        log.second -= 3_600
        log.decisions(2)
        log.checkpoint(covers: 3)
        let report = log.verify()
        #expect(report.isWhole)
        #expect(report.remarks.count == 1)
    }

    @Test func problemsNameTheirPlace() {
        var files = log.files.map(joined)
        let text = String(decoding: files[1], as: UTF8.self)
        // The second line of the second file.
        files[1] = Array(text.replacing("\"uid\":1000", with: "\"uid\":0", maxReplacements: 1).utf8)
        let report = log.verify(files)
        #expect(report.problems == report.problems.prefix(1).map { $0 })
        #expect(report.problems.first?.code == .hash)
        #expect(report.problems.first?.file == "file2")
        #expect(report.problems.first?.line == 2)
        #expect(report.problems.first?.sequence == 6)
        #expect(report.problems.first?.message == "line 2 of file2 (sequence 6) was changed, or a line before it was removed, added or moved: its hash does not fit")
        #expect(report.isStopped)
    }

    // MARK: Any log, any garbage

    @Test(arguments: 0..<40) func whatADaemonWritesPasses(_: Int) {
        var log = AuditTestLog.begun()
        var lastCovered: UInt64 = 0
        for _ in 0..<Int.random(in: 1...60) {
            switch Int.random(in: 0..<8) {
            case 0: log.rotate()
            case 1: log.continues()
            case 2, 3:
                guard lastCovered < log.sequence else { continue }
                lastCovered = .random(in: lastCovered + 1...log.sequence)
                log.checkpoint(covers: lastCovered)
            default: log.decisions(.random(in: 1...4), #","context":{"tenant":"é\\u0000\\\"","":"\\ud83d\\ude00"},"gids":[1,2],"x":-1.5e3"#)
            }
        }
        log.checkpoint(covers: log.sequence)
        log.decisions(.random(in: 0...3))
        let report = log.verify { $0.fromStart = true }
        #expect(report.isWhole, "\(report.problems)")
        #expect(report.lines == log.sequence)
        #expect(report.verifiedCheckpoints == log.checkpoints.count)
        // From each file on, too.
        for start in log.files.indices {
            let part = log.verify(log.files.dropFirst(start).map(joined))
            #expect(part.isWhole, "from file \(start + 1): \(part.problems)")
        }
    }

    /// Chains that fit, of lines with numbers at the ends of their range.
    @Test func numbersAtTheEndsOfTheirRange() {
        let numbers: [UInt64] = [0, 1, 2, 3, 1 << 63 - 1, 1 << 63, .max - 2, .max - 1, .max]
        func number(near last: UInt64) -> UInt64 { [numbers.randomElement() ?? 1, last, last &+ 1, last &- 1].randomElement() ?? 1 }
        for _ in 0..<3_000 {
            var hashes = [AuditChain.origin]
            var bytes: [UInt8] = []
            var checkpoints: [AuditCheckpoint] = []
            var last: UInt64 = 0
            for index in 0..<Int.random(in: 2...6) {
                let events = index == 0 ? ["log-begins", "log-continues"] : ["log-continues", "log-resumes", "anchor-unmet", "checkpoint", "checkpoint"]
                let event = events.randomElement() ?? ""
                let covered = event == "log-begins" ? 1 : number(near: last)
                let sequence = event == "log-begins" ? 1 : event == "log-resumes" || index == 0 ? number(near: last) : last &+ 1
                let hash = hashes.randomElement() ?? []
                let mac = log.key.mac(AuditCheckpoint.message(log: log.log, sequence: covered, hash: hash, keyID: log.key.id.bytes))
                checkpoints.append(AuditCheckpoint(log: log.log, sequence: covered, hash: hash, keyID: log.key.id.bytes, mac: mac))
                let time = ["0000-01-01T00:00:00+23:59", "9999-12-31T23:59:60-23:59"].randomElement() ?? ""
                let content = Array(
                    #"{"time":"\#(time)","sequence":\#(sequence),"event":"\#(event)","log":"\#(hexadecimal(log.log))","previous":"\#(hexadecimal(hashes.last ?? []))","missing_from":\#(covered),"missing_to":\#(last),"covers":\#(covered),"covered_hash":"\#(hexadecimal(hash))","key_id":"\#(log.key.id)","mac":"\#(hexadecimal(mac))""#.utf8)
                hashes.append(AuditChain.hash(after: hashes.last ?? [], content))
                bytes += content + Array(#","hash":"\#(hexadecimal(hashes.last ?? []))"}"#.utf8) + [0x0A]
                last = sequence
            }
            let anchors = checkpoints.randomElement().map { [AuditAnchor($0, place: "there")] } ?? []
            let asksToken = Bool.random()
            let report = log.verify([bytes], anchors: anchors) { $0.asksToken = asksToken; $0.beginsAnywhere = .random() }
            #expect(report.windowLines <= report.lines)
        }
    }

    @Test func garbageIsNoLogAndNoCrash() {
        let seeds: [[UInt8]] = log.lines + [
            Array("{\"time\":\"2026-02-30T00:00:00Z\"}".utf8), Array("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[".utf8), [0xFF, 0xFE], [],
            Array(#"{"time":"2026-01-01T00:00:00Z","sequence":18446744073709551615,"event":"log-begins"}"#.utf8),
        ]
        for _ in 0..<3_000 {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 0...3) { bytes += seeds.randomElement() ?? [] }
            for _ in 0..<Int.random(in: 0...20) {
                let byte = UInt8.random(in: .min ... .max)
                switch Int.random(in: 0..<3) {
                case 0 where !bytes.isEmpty: bytes.remove(at: .random(in: bytes.indices))
                case 1 where !bytes.isEmpty: bytes[.random(in: bytes.indices)] = byte
                default: bytes.insert(byte, at: .random(in: 0...bytes.count))
                }
            }
            let report = log.verify([bytes]) { $0.beginsAnywhere = .random() }
            if report.isWhole { Issue.record("\(String(decoding: bytes, as: UTF8.self))") }
            _ = AuditLine(bytes[...])
        }
    }
}

@Suite struct AuditLineTests {
    @Test func membersAreReadBack() throws {
        let text = #"{"time":"2026-11-21T08:15:30.123456Z","sequence":7,"uid":1000,"key":"a\"b\\\u0041","context":{"tenant":"acme","x":"\n"},"gids":[1,{"sequence":9}],"n":null,"sequence":8}"#
        let line = try #require(AuditLine(ArraySlice(text.utf8)))
        #expect(line.sequence == 7)
        #expect(line.event == nil)
        #expect(line.time.description == "2026-11-21T08:15:30.123456Z")
        #expect(line.text("key") == "a\"b\\A")
        #expect(line.number("uid") == 1_000)
        #expect(line.number("key") == nil && line.text("uid") == nil && line.text("absent") == nil)
        #expect(line.texts("context").map(\.key) == ["tenant", "x"])
        #expect(line.texts("context").map(\.value) == ["acme", "\n"])
    }

    @Test(arguments: [
        "", "{}", "[]", "null", #"{"time":"2026-11-21T08:15:30Z"}"#, #"{"sequence":1}"#, #"{"time":"2026-11-21T08:15:30Z","sequence":0}"#,
        #"{"time":"2026-11-21T08:15:30Z","sequence":-1}"#, #"{"time":"2026-11-21T08:15:30Z","sequence":1.5}"#,
        #"{"time":"2026-11-21T08:15:30Z","sequence":18446744073709551616}"#, #"{"time":"yesterday","sequence":1}"#,
        #"{"time":"2026-11-21T08:15:30Z","sequence":1}}"#, #"{"time":"2026-11-21T08:15:30Z","sequence":1,}"#,
        #"{"time":"2026-11-21T08:15:30Z","sequence":1,"a"}"#, #"{"time":"2026-11-21T08:15:30Z","sequence":1,"a":"\x"}"#,
        #"{"time":"2026-11-21T08:15:30Z","sequence":1,"a":tru}"#, #"{"time":"2026-11-21T08:15:30Z","sequence":1,"a":1.}"#,
        #"{"time":"2026-11-21T08:15:30Z","sequence":1,"a":"\u12"}"#, "{\"time\":\"2026-11-21T08:15:30Z\",\"sequence\":1,\"a\":\"\t\"}",
    ])
    func othersAreNoLines(_ text: String) { #expect(AuditLine(ArraySlice(text.utf8)) == nil) }

    @Test func timesAreReadAndWritten() throws {
        for text in [
            "1970-01-01T00:00:00.000000Z", "1969-12-31T23:59:59.999999Z", "2000-02-29T12:00:00.000001Z", "2026-11-21T08:15:30.123456Z",
            "9999-12-31T23:59:59.000000Z", "2100-03-01T00:00:00.000000Z", "0001-01-01T00:00:00.000000Z",
        ] {
            #expect(try #require(AuditTime(text)).description == text)
        }
        #expect(AuditTime("2026-11-21T09:15:30+01:00") == AuditTime("2026-11-21T08:15:30Z"))
        #expect(AuditTime("2026-11-20T23:45:30.5-08:30")?.description == "2026-11-21T08:15:30.500000Z")
        #expect(AuditTime("2026-11-21T08:15:30Z")?.microseconds == 1_795_248_930_000_000)
        for text in ["2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00", "2026-01-01", "", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00Zx"] {
            #expect(AuditTime(text) == nil, "\(text)")
        }
    }
}
