import Dispatch
import Foundation
import Logging
import Synchronization

/// The audit log: one JSON line per decision, written before the answer leaves, each chained to the one before.
///
/// If a line can't be written, the operation that it tells of fails. A thread of its own syncs the file in the background
/// and, when writing fails, tries about once a second whether it can go on: that needs no restart and no request.
public final class AuditLog: Sendable {
    /// What the notary knows of its work, for ``report``.
    struct Notes: Sendable {
        var checkpoint: (sequence: UInt64, milliseconds: UInt64)?
        var failure: String?
        /// What stands on the token in an audit key's or an anchor's place and is not believed.
        var remark: String?
        var anchor = "none yet"
    }

    /// Where the log is, for messages.
    public let path: String
    let stateAnchor: StateAnchor
    /// Signalled when the notary has to look at ``duty`` again.
    let notaryWanted = DispatchSemaphore(value: 0)
    private let settings: AuditSettings
    private let log: Logger
    private let writer: Mutex<AuditWriter>
    private let notes = Mutex(Notes())
    /// Held while files are synced: who waits for it knows that all lines written before are on the disk.
    private let syncing = Mutex(())
    private let keeperWanted = DispatchSemaphore(value: 0)
    private static let retryInterval = Duration.seconds(1)

    /// Opens or creates the log and writes its first line. If only the latter can't be done, the log is there and fails
    /// until it can.
    ///
    /// - Throws: ``CustodyError`` with `auditUnavailable`.
    public init(
        _ settings: AuditSettings, log: Logger = Logger(label: "audit", factory: { _ in SwiftLogNoOpLogHandler() })
    ) throws(CustodyError) {
        path = settings.file
        self.settings = settings
        self.log = log
        stateAnchor = try StateAnchor(settings.stateDirectory)
        var anchor: AuditCheckpoint?
        do {
            anchor = try stateAnchor.read()
        } catch {
            // Whoever can spoil it can remove it as well: it is no reason to stay down.
            log.error("the audit log's anchor can't be read; the log goes on without", metadata: ["cause": "\(error.cause)"])
        }
        do {
            writer = Mutex(try AuditWriter(settings, anchor: anchor))
        } catch {
            throw CustodyError(
                .auditUnavailable, "cannot open the audit log: \(error.cause); the daemon's user must be able to write there")
        }
        startKeeper()
        try? write([], [])
    }

    deinit { keeperWanted.signal() }

    /// Whether the latest batch could be written.
    public var isWritable: Bool { writer.withLock { $0.trouble == nil } }

    /// What Status says of it.
    public var report: AuditReport {
        let (failure, sequence) = writer.withLock { ($0.trouble?.cause, $0.sequence) }
        let notes = notes.withLock { $0 }
        let durability =
            switch settings.durability {
            case .interval(let duration): "interval \(duration.milliseconds) ms"
            case .write, .fsync: settings.durability.word
            }
        return AuditReport(
            file: path, durability: durability, failure: failure, sequence: sequence, checkpoint: notes.checkpoint,
            checkpointFailure: notes.failure ?? notes.remark, anchor: notes.anchor)
    }

    /// Writes the records, all or none.
    ///
    /// - Throws: ``CustodyError`` with `auditUnavailable`; then nothing may be answered but this error.
    public func append(_ records: [AuditRecord]) throws(CustodyError) {
        guard !records.isEmpty else { return }
        try write([], records.map(\.content))
    }

    /// Writes a line that tells of something else than a decision.
    ///
    /// - Throws: ``CustodyError`` with `auditUnavailable`.
    public func note(_ event: AuditEvent) throws(CustodyError) { try write([event], []) }

    /// Writes such a line now or, if that can't be done, with the next one that can be.
    public func noteEventually(_ event: AuditEvent) {
        do {
            try note(event)
        } catch {
            writer.withLock { $0.postpone(event) }
        }
    }

    /// Puts everything on the disk and lets the file go. Nothing can be written afterwards.
    public func close() {
        try? sync()
        writer.withLock { $0.close() }
        keeperWanted.signal()
    }

    private func write(_ events: [AuditEvent], _ contents: [AuditLine.Content]) throws(CustodyError) {
        let (failure, change) = writer.withLock { writer in
            let before = Standing(writer)
            do throws(AuditFailure) {
                try writer.append(events, contents)
                return (AuditFailure?.none, Change(before, Standing(writer), settings))
            } catch {
                return (error, Change(before, Standing(writer), settings))
            }
        }
        if change.wantsKeeper { keeperWanted.signal() }
        if change.wantsNotary { notaryWanted.signal() }
        if let failure {
            if change.isFirstFailure { tell(failure) }
            throw failure.error
        }
        if let cause = change.overcome { log.notice("the audit log can be written again", metadata: ["was": "\(cause)"]) }
    }

    private func tell(_ failure: AuditFailure) {
        log.error(
            "the audit log can't be written; every operation is refused until it can", metadata: ["cause": "\(failure.cause)"])
    }

    // MARK: Syncing

    /// fdatasync of all lines that are written.
    func sync() throws(CustodyError) {
        let (failure, isNews): (AuditFailure?, Bool) = syncing.withLock { _ in
            let files = writer.withLock { $0.takeUnsynced() }
            for (index, file) in files.enumerated() {
                do throws(AuditFailure) {
                    try file.sync()
                } catch {
                    return writer.withLock { writer in
                        defer { writer.syncFailed(error) }
                        writer.giveBack(files[(index + 1)...])
                        return (error, writer.trouble == nil)
                    }
                }
            }
            return (nil, false)
        }
        guard let failure else { return }
        if isNews { tell(failure) }
        keeperWanted.signal()
        throw failure.error
    }

    /// The thread ends with the log: it holds on to it only while it works.
    private func startKeeper() {
        let thread = Thread { [weak self, keeperWanted] in
            var next = DispatchTime.distantFuture
            while true {
                _ = keeperWanted.wait(timeout: next)
                guard let pause = self?.keep() else { return }
                next = pause == .zero ? .distantFuture : .now() + pause.dispatchInterval
            }
        }
        thread.name = "audit-keeper"
        thread.start()
    }

    /// Does what is due, and says after what time it may be again; zero if nothing is in sight, nil if the log is closed.
    private func keep() -> Duration? {
        guard !writer.withLock({ $0.isClosed }) else { return nil }
        let pauses = [syncIfDue(), retryIfDue()].filter { $0 > .zero }
        return pauses.min() ?? .zero
    }

    private func syncIfDue() -> Duration {
        guard case .interval(let interval) = settings.durability, let since = writer.withLock({ $0.unsyncedSince })
        else { return .zero }
        let pause = interval - since.duration(to: .now)
        if pause > .zero { return pause }
        try? sync()
        return .zero
    }

    private func retryIfDue() -> Duration {
        guard let trouble = writer.withLock({ $0.trouble }) else { return .zero }
        let pause = Self.retryInterval - trouble.lastTry.duration(to: .now)
        if pause > .zero { return pause }
        // Its success is a line, so that it proves what it says.
        return (try? write([], [])) == nil ? Self.retryInterval : .zero
    }
}

// MARK: For the notary

extension AuditLog {
    /// What the next checkpoint would cover, and when it is due.
    struct Duty: Sendable {
        let log: [UInt8]
        let sequence: UInt64
        let hash: [UInt8]
        let lines: Int
        let taken: ContinuousClock.Instant
        /// nil if a checkpoint covers everything.
        let due: ContinuousClock.Instant?
    }

    var duty: Duty {
        writer.withLock { writer in
            let now = ContinuousClock.now
            let isFull = writer.uncovered >= settings.checkpointRecords
            return Duty(
                log: writer.log, sequence: writer.sequence, hash: writer.hash, lines: writer.uncovered, taken: now,
                due: writer.uncoveredSince.map { isFull ? now : $0 + settings.checkpointInterval })
        }
    }

    /// Writes a checkpoint's line and syncs, so that what is anchored afterwards is there to be found.
    func record(_ checkpoint: AuditCheckpoint, of duty: Duty) throws(CustodyError) {
        try note(.checkpoint(checkpoint))
        writer.withLock { $0.cover(duty.lines, at: duty.taken) }
        try sync()
        notes.withLock { $0.checkpoint = (checkpoint.sequence, WallClock.milliseconds) }
    }

    func amendNotes(_ body: (inout Notes) -> Void) { notes.withLock { body(&$0) } }
}

/// What of the writer decides who has to be woken.
private struct Standing {
    let trouble: String?
    let isSynced: Bool
    let uncovered: Int

    init(_ writer: borrowing AuditWriter) {
        trouble = writer.trouble?.cause
        isSynced = writer.unsyncedSince == nil
        uncovered = writer.uncovered
    }
}

/// What a batch has changed, so that nobody is woken with every batch.
private struct Change {
    let wantsKeeper: Bool
    let wantsNotary: Bool
    let isFirstFailure: Bool
    /// The trouble that is over.
    let overcome: String?

    init(_ before: Standing, _ after: Standing, _ settings: AuditSettings) {
        isFirstFailure = before.trouble == nil && after.trouble != nil
        overcome = after.trouble == nil ? before.trouble : nil
        var isInterval = false
        if case .interval = settings.durability { isInterval = true }
        wantsKeeper = isFirstFailure || isInterval && before.isSynced && !after.isSynced
        wantsNotary = before.uncovered == 0 && after.uncovered > 0
            || before.uncovered < settings.checkpointRecords && after.uncovered >= settings.checkpointRecords
    }
}

extension Duration {
    var milliseconds: Int64 { components.seconds * 1_000 + components.attoseconds / 1_000_000_000_000_000 }
}
