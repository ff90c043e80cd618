/// The writing of the log, one batch of lines after the other: what ``AuditLog`` guards with its lock.
///
/// The number and the chain move on only by lines that stand whole in a file which somebody can find. Every failure leaves
/// the writer such that the next batch first puts right what is wrong.
struct AuditWriter: Sendable {
    /// Events that wait for a log that can't be written, at most.
    private static let mostPostponed = 16

    /// Why nothing can be written, and since when.
    struct Trouble: Sendable {
        var cause: String
        let since: ContinuousClock.Instant
        var lastTry: ContinuousClock.Instant
    }

    let log: [UInt8]
    private let settings: AuditSettings
    private let journal: JournalSocket?
    private var clock = WallClock()

    /// The latest line.
    private(set) var sequence: UInt64
    private(set) var hash: [UInt8]
    /// What is written before anything else: that the log goes on here.
    private var heading: AuditEvent?
    /// What could not be told in its time and is told as soon as it can be.
    private var postponed: [AuditEvent] = []

    /// nil if it has to be opened anew.
    private var file: AuditFile?
    /// The file in which the latest line is, and its size when that was written.
    private var identity: AuditFile.Identity
    private var size: Int
    /// A part of a line stands behind `size`.
    private var isTorn = false
    /// A sync has failed: the file counts only when it was opened anew and synced.
    private var mustSync = false
    private(set) var isClosed = false
    /// Lines that are in the file but not in the journal yet, and the number of the first.
    private var owedToJournal: ArraySlice<UInt8> = []
    private var owedSequence: UInt64 = 0

    /// Files with lines that no sync has covered, and since when.
    private(set) var unsynced: [AuditFile] = []
    private(set) var unsyncedSince: ContinuousClock.Instant?
    private(set) var trouble: Trouble?
    /// Lines that no checkpoint covers, checkpoints aside, and since when there is one.
    private(set) var uncovered = 0
    private(set) var uncoveredSince: ContinuousClock.Instant?

    /// Takes over the file as it is.
    init(_ settings: AuditSettings, anchor: AuditCheckpoint?) throws(AuditFailure) {
        self.settings = settings
        journal = settings.journal ? try JournalSocket(settings.journalSocket) : nil
        let file = try AuditFile(settings.file)
        let end = try AuditTail.read(file.descriptor, path: file.path)
        let start = AuditStart(
            file: end, predecessor: { AuditTail.predecessor(of: settings.file, log: anchor?.log) }, anchor: anchor,
            objection: { AuditContinuity(of: settings.file).objection(to: $0, end: $1) })
        log = start.log
        sequence = start.sequence
        hash = start.hash
        heading = start.event
        identity = file.identity
        size = try file.look().size - end.tornBytes
        isTorn = end.tornBytes > 0
        self.file = file
        if size == 0 { try file.syncFolder() }
    }

    // MARK: Appending

    /// Writes the lines, all or none.
    mutating func append(_ events: [AuditEvent], _ contents: [AuditLine.Content]) throws(AuditFailure) {
        do throws(AuditFailure) {
            // What was written to a file that is deleted meanwhile is written again to the next.
            for _ in 0..<3 {
                let file = try readyFile()
                if try write(events, contents, to: file) {
                    trouble = nil
                    return
                }
            }
            throw AuditFailure("\(settings.file): it is deleted again and again")
        } catch {
            let now = ContinuousClock.now
            trouble = Trouble(cause: error.cause, since: trouble?.since ?? now, lastTry: now)
            throw error
        }
    }

    /// Returns false if the file turns out to be deleted.
    private mutating func write(
        _ events: [AuditEvent], _ contents: [AuditLine.Content], to file: AuditFile
    ) throws(AuditFailure) -> Bool {
        // In one piece from the beginning: what grows is copied, and what it leaves is overwritten.
        let length = contents.reduce(4_096) { $0 + $1.bytes.count + AuditLine.frameLength }
        var lines = ChainedLines(after: sequence, hash, time: clock.now(), capacity: length)
        if let heading { lines.append(heading) }
        if let trouble {
            lines.append(.writableAgain(failedFor: trouble.since.duration(to: .now), reason: trouble.cause))
        }
        for event in postponed { lines.append(event) }
        for event in events { lines.append(event) }
        for content in contents { lines.append(content) }
        do {
            try file.append(lines.bytes)
        } catch {
            isTorn = error.isTorn
            throw error.failure
        }
        let found = try file.look()
        guard found.isLinked || !file.isRegular else {
            leave()
            return false
        }
        heading = nil
        postponed = []
        if file.isRegular, found.size != size + lines.bytes.count {
            // Somebody else cut it or wrote to it. Our lines are there; the next one says where the chain goes on.
            heading = .continues(log: log, previous: lines.hash)
        }
        size = found.size
        count(events, lines.sequence - sequence)
        owedToJournal = journal == nil ? [] : lines.bytes[...]
        owedSequence = sequence + 1
        sequence = lines.sequence
        hash = lines.hash
        try payJournal()
        if settings.durability == .fsync { try sync() }
        return true
    }

    private mutating func count(_ events: [AuditEvent], _ lines: UInt64) {
        if let file, file !== unsynced.last { unsynced.append(file) }
        if unsyncedSince == nil { unsyncedSince = .now }
        let checkpoints = events.count { $0.name == AuditEvent.checkpointName }
        uncovered += Int(lines) - checkpoints
        if uncovered > 0, uncoveredSince == nil { uncoveredSince = .now }
    }

    /// Sends what the journal has not got yet, so that it has no gap either.
    private mutating func payJournal() throws(AuditFailure) {
        guard let journal else { return }
        while let feed = owedToJournal.firstIndex(of: 0x0A) {
            try journal.send(owedToJournal[..<feed], sequence: owedSequence)
            owedToJournal = owedToJournal[(feed + 1)...]
            owedSequence += 1
        }
    }

    // MARK: The file

    /// The file that the path names, with no half line at its end.
    private mutating func readyFile() throws(AuditFailure) -> AuditFile {
        guard !isClosed else { throw AuditFailure("\(settings.file): it is closed") }
        try payJournal()
        try cutTornLine()
        if let file {
            let there = AuditFile.look(at: settings.file)
            if there?.identity != file.identity {
                leave()
            } else if file.isRegular, there?.size != size {
                try takeOver(file)
            }
        }
        if let file { return file }
        return try reopened()
    }

    private mutating func cutTornLine() throws(AuditFailure) {
        guard isTorn, let file else { return }
        // Somebody may have cut off more than that.
        if try file.look().size > size { try file.cut(to: size) }
        isTorn = false
    }

    /// Lets the file go. If it was renamed, its lines are synced with the next ones.
    private mutating func leave() {
        // With this durability nobody else might sync it for long, and an open file keeps its room even when it is deleted.
        if let file, settings.durability == .write, (try? file.sync()) != nil { unsynced.removeAll { $0 === file } }
        file = nil
        isTorn = false
    }

    private mutating func reopened() throws(AuditFailure) -> AuditFile {
        let new = try AuditFile(settings.file)
        if mustSync {
            try new.sync()
            mustSync = false
        }
        if new.identity != identity {
            try takeOver(new)
            try new.syncFolder()
        } else if new.isRegular, try new.look().size != size {
            try takeOver(new)
        }
        file = new
        return new
    }

    /// Goes on in a file whose end is not the one that was written last: new, cut short, or written to by somebody else.
    private mutating func takeOver(_ file: AuditFile) throws(AuditFailure) {
        let end = try AuditTail.read(file.descriptor, path: file.path)
        let length = try file.look().size
        if end.tornBytes > 0 { try file.cut(to: length - end.tornBytes) }
        identity = file.identity
        size = length - end.tornBytes
        // A daemon that could not write its first line yet has that to say.
        heading = heading ?? .continues(log: log, previous: hash, tornBytes: end.tornBytes)
    }

    // MARK: Syncing

    /// The files to be synced outside of the lock; ``syncFailed(_:_:)`` tells if that does not succeed.
    mutating func takeUnsynced() -> [AuditFile] {
        defer {
            unsynced = []
            unsyncedSince = nil
        }
        return unsynced
    }

    /// Files that are yet to be synced, after one before them could not be.
    mutating func giveBack(_ files: some Sequence<AuditFile>) {
        unsynced = files + unsynced
        if !unsynced.isEmpty, unsyncedSince == nil { unsyncedSince = .now }
    }

    /// Tells of an event with the next line that can be written.
    mutating func postpone(_ event: AuditEvent) {
        if postponed.count < Self.mostPostponed { postponed.append(event) }
    }

    /// What a failed sync has lost nobody knows, and the kernel does not say it twice.
    mutating func syncFailed(_ failure: AuditFailure) {
        file = nil
        mustSync = true
        let now = ContinuousClock.now
        trouble = Trouble(cause: failure.cause, since: trouble?.since ?? now, lastTry: now)
    }

    private mutating func sync() throws(AuditFailure) {
        let files = takeUnsynced()
        for (index, file) in files.enumerated() {
            do throws(AuditFailure) {
                try file.sync()
            } catch {
                giveBack(files[(index + 1)...])
                syncFailed(error)
                throw error
            }
        }
    }

    /// Nothing is written any more.
    mutating func close() {
        isClosed = true
        file = nil
    }

    // MARK: Checkpoints

    /// A checkpoint was made when so many lines were uncovered.
    mutating func cover(_ lines: Int, at time: ContinuousClock.Instant) {
        uncovered -= lines
        uncoveredSince = uncovered > 0 ? time : nil
    }
}
