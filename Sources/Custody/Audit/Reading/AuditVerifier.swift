import ByteEncoding

/// Verifies an audit log as it reads it: the chain of hashes, the sequence, the checkpoints and the anchors.
///
/// Lines go in in the order of the log, those of all files one after the other. At the first line that does not fit it
/// stops, since what follows a break proves nothing. The one thing that it can't see is what somebody does to the lines
/// after the one that the newest anchored checkpoint covers, and computes their hashes anew.
public struct AuditVerifier {
    /// What the token says of a checkpoint.
    public enum Word: Sendable, Hashable {
        case genuine
        case forged
        /// It has no audit key of this id.
        case unknownKey
        /// It has an object of this id that is no audit key, for this reason.
        case unbelievedKey(String)
        /// Nobody asked it.
        case notAsked
    }

    public struct Expectations: Sendable {
        /// The log must begin at sequence 1.
        public var fromStart = false
        /// A part of a log ends where it likes: anchors are not held against it.
        public var isPart = false
        /// Checkpoints and anchors are shown to the token, and without any there is no proof.
        public var asksToken = true
        /// A stream may begin in the middle of a file, as the journal's does; files never do.
        public var beginsAnywhere = false

        public init() {}
    }

    let expectations: Expectations
    let anchors: [AuditAnchor]
    /// The anchors' checkpoints that stood in the log.
    var found: Set<AuditCheckpoint> = []
    var report = AuditVerification()
    var tail = UncoveredLines()
    /// The line that the latest checkpoint covers; nil before the first, and after lines were lost.
    var covered: UInt64?
    /// The hash of the line before; nil where that line was not given.
    private var previous: [UInt8]?
    private var file: String?
    private var lineInFile = 0
    private var timesBackwards = 0
    private var firstBackwards: UInt64?

    public init(_ expectations: Expectations, anchors: [AuditAnchor]) {
        self.expectations = expectations
        self.anchors = anchors
    }

    /// Whether a problem ended it: no line counts any more.
    public var isStopped: Bool { report.isStopped }

    /// Says that a file begins.
    public mutating func begin(file: String) {
        endFile()
        guard !isStopped else { return }
        self.file = file
        lineInFile = 0
        report.files += 1
    }

    /// Takes the next line, with its line feed.
    ///
    /// - Parameter ask: Is asked about each checkpoint; what it throws is no word on the log and goes to the caller.
    public mutating func read(_ bytes: ArraySlice<UInt8>, ask: (AuditCheckpoint) throws -> Word) rethrows {
        guard !isStopped else { return }
        lineInFile += 1
        var sequence: UInt64?
        let claim: CheckpointClaim?
        let line: AuditLine
        do throws(AuditProblem) {
            let (parsed, content, hash) = try parse(bytes)
            sequence = parsed.sequence
            try checkLog(parsed)
            try chain(parsed, content, hash)
            line = parsed
            claim = parsed.event == "checkpoint" ? try checkpointClaim(parsed) : nil
        } catch {
            return stop(error, at: sequence)
        }
        guard let claim, let checkpoint = try named(claim, ask) else { return }
        if anchors.contains(where: { $0.checkpoint == checkpoint }) { found.insert(checkpoint) }
        // One that covers a line before all that were given says nothing of these.
        guard tail.contains(claim.covers) else { return }
        if let problem = accept(checkpoint, try ask(checkpoint), line) { stop(problem, at: sequence) }
    }

    /// Ends the log and compares it with the anchors.
    public mutating func finish(ask: (AuditCheckpoint) throws -> Word) rethrows -> AuditVerification {
        endFile()
        if !isStopped, let problem = try compareEnd(ask) {
            report.problems.append(problem)
            report.isStopped = true
        }
        if let covered, tail.contains(covered) { tail.drop(before: covered + 1) }
        report.windowLines = UInt64(tail.count)
        report.windowSince = tail.isEmpty ? nil : tail.time(tail.first)
        if timesBackwards > 0, let firstBackwards {
            report.remarks.append("the clock went back \(timesBackwards) times, first at sequence \(firstBackwards)")
        }
        return report
    }

    // MARK: Lines

    private func parse(
        _ bytes: ArraySlice<UInt8>
    ) throws(AuditProblem) -> (line: AuditLine, content: ArraySlice<UInt8>, hash: [UInt8]) {
        guard bytes.last == 0x0A || bytes.count > AuditLine.longest else {
            throw AuditProblem(.torn, "\(place()) is not whole: the file ends in the middle of it")
        }
        guard let (content, hash) = AuditChain.split(bytes), let line = AuditLine(bytes) else {
            throw AuditProblem(
                .malformed, "\(place()) is no line of a daemon's: it was changed, or something else was written into the file")
        }
        return (line, content, hash)
    }

    /// Lines that name a log must all name the same.
    private mutating func checkLog(_ line: AuditLine) throws(AuditProblem) {
        guard line.event == "log-begins" || line.event == "log-continues" || line.event == "log-resumes" else { return }
        guard let log = line.bytes("log"), log.count == 16 else { throw malformed(line, "it names no log") }
        guard report.log == nil || report.log == log else {
            throw AuditProblem(
                .otherLog,
                "\(place(line)) belongs to log \(hexadecimal(log)), the lines before it to log \(hexadecimal(report.log ?? [])): "
                    + "the log was replaced, or files of two logs were given")
        }
        report.log = log
    }

    private mutating func chain(_ line: AuditLine, _ content: ArraySlice<UInt8>, _ hash: [UInt8]) throws(AuditProblem) {
        let before: [UInt8]?
        if let last = report.lastSequence {
            before = try goOn(line, after: last)
        } else {
            before = try start(line)
        }
        let fits = before.map { AuditChain.hash(after: $0, content) == hash }
        if let last = report.lastSequence, line.event != "log-resumes" { try checkSequence(line, after: last, hashFits: fits == true) }
        if line.event == "log-continues", let previous, previous != before {
            throw AuditProblem(
                .continuation,
                "\(place(line)) goes on after another line than the one before it: lines between them were removed or changed, or this one was")
        }
        guard fits != false else {
            throw AuditProblem(
                .hash, "\(place(line)) was changed, or a line before it was removed, added or moved: its hash does not fit")
        }
        if line.event == "log-resumes" { lose(line) }
        if line.event == "anchor-unmet" { report(unmet: line) }
        if let lastTime = report.lastTime, line.time < lastTime {
            timesBackwards += 1
            firstBackwards = firstBackwards ?? line.sequence
        }
        previous = hash
        tail.append(line.sequence, hash: hash, time: line.time, isCheckpoint: line.event == "checkpoint")
        report.lines += 1
        report.firstSequence = report.firstSequence ?? line.sequence
        report.firstTime = report.firstTime ?? line.time
        report.lastSequence = line.sequence
        report.lastTime = line.time
    }

    /// The hash before the first line of all; nil if it can't be known.
    private mutating func start(_ line: AuditLine) throws(AuditProblem) -> [UInt8]? {
        guard (line.sequence == 1) == (line.event == "log-begins") else {
            throw malformed(line, "a log begins with the event log-begins at sequence 1")
        }
        guard line.sequence == 1 || !expectations.fromStart else {
            throw AuditProblem(.beginning, "the log begins at sequence \(line.sequence) in \(file ?? "the input"): earlier lines are missing")
        }
        switch line.event {
        case "log-begins": return AuditChain.origin
        case "log-continues", "log-resumes": return try statedPrevious(line)
        default:
            guard expectations.beginsAnywhere else {
                throw AuditProblem(
                    .beginning,
                    "\(place(line)) is not how a file of the log begins: the lines before it were cut off, or their file was not given")
            }
            report.remarks.append(
                "what sequence \(line.sequence) says is not proven, since the line before it was not given; what follows is")
            return nil
        }
    }

    private func goOn(_ line: AuditLine, after last: UInt64) throws(AuditProblem) -> [UInt8]? {
        switch line.event {
        case "log-begins":
            throw AuditProblem(.otherLog, "\(place(line)) begins the log anew after sequence \(last): the log was replaced, or files of two logs were given")
        case "log-continues", "log-resumes": try statedPrevious(line)
        default: previous
        }
    }

    private func statedPrevious(_ line: AuditLine) throws(AuditProblem) -> [UInt8] {
        guard let hash = line.bytes("previous"), hash.count == AuditChain.hashLength else {
            throw malformed(line, "it does not name the hash of the line before it")
        }
        return hash
    }

    private func checkSequence(_ line: AuditLine, after last: UInt64, hashFits: Bool) throws(AuditProblem) {
        // After the highest number comes 0, which no line has.
        let expected = last &+ 1
        guard line.sequence != expected else { return }
        let why =
            if hashFits {
                "its hash fits, so the hashes were computed anew"
            } else if line.sequence > expected {
                "\(line.sequence - expected) lines before it were removed or moved (\(expected) to \(line.sequence - 1)), or their file was not given, or this line was changed"
            } else {
                "lines were moved or repeated, files were given in the wrong order, or this line was changed"
            }
        throw AuditProblem(.sequence, "\(place()) has sequence \(line.sequence) where \(expected) must follow: \(why)")
    }

    /// The daemon's own word that lines are lost: a break, after which the chain is checked on.
    private mutating func lose(_ line: AuditLine) {
        let range = line.number("missing_from").flatMap { from in line.number("missing_to").map { "\(from) to \($0)" } } ?? "unknown"
        var problem = AuditProblem(
            .lost,
            "\(place(line)): when the daemon started it found lines of its log missing (sequence \(range)): \(line.text("reason") ?? "no reason given")")
        locate(&problem, line.sequence)
        report.problems.append(problem)
        tail.clear()
        covered = nil
    }

    /// The daemon's own word that the token vouched for something else: evidence that outlives the anchor, which the daemon
    /// has renewed since.
    private mutating func report(unmet line: AuditLine) {
        var problem = AuditProblem(
            .lost, "\(place(line)): when the daemon started, its log was not the one that the token vouched for: \(line.text("reason") ?? "no reason given")")
        locate(&problem, line.sequence)
        report.problems.append(problem)
    }

    private mutating func endFile() {
        guard !isStopped, let file, lineInFile == 0 else { return }
        stop(AuditProblem(.empty, "\(file) has no lines: its content was removed"), at: nil)
    }

    // MARK: Places and problems

    mutating func stop(_ problem: AuditProblem, at sequence: UInt64?) {
        var problem = problem
        locate(&problem, sequence)
        report.problems.append(problem)
        report.isStopped = true
    }

    private func locate(_ problem: inout AuditProblem, _ sequence: UInt64?) {
        problem.file = file
        problem.line = lineInFile > 0 ? lineInFile : nil
        problem.sequence = sequence
    }

    func place(_ line: AuditLine? = nil) -> String {
        "line \(lineInFile) of \(file ?? "the input")" + (line.map { " (sequence \($0.sequence))" } ?? "")
    }

    func malformed(_ line: AuditLine, _ why: String) -> AuditProblem {
        AuditProblem(.malformed, "\(place(line)) is no line of a daemon's: \(why)")
    }
}
