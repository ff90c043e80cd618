import Foundation
import Logging
import PKCS11
import Synchronization

/// Watches how long versions that are scheduled for destruction wait, and keeps that in the state directory: see ``WaitingRecord``.
final class WaitingPeriods: Sendable {
    private struct State {
        var record: WaitingRecord
        /// When the token was last looked at; nil before the first time.
        var lookedAt: ContinuousClock.Instant?
        var written: WaitingRecord
        var writtenAt = ContinuousClock.now
    }

    /// How old the file may be: what a crash loses of the time that has passed.
    private static let writeInterval = Duration.seconds(60)

    private let directory: StateDirectory
    private let log: Logger
    private let state: Mutex<State>

    init(_ directory: StateDirectory, log: Logger) throws(CustodyError) {
        self.directory = directory
        self.log = log
        let content = try directory.read(WaitingRecord.file)
        let record = content.flatMap { WaitingRecord($0) }
        if content != nil, record == nil {
            log.warning("the record of waiting periods was damaged: every version that is scheduled for destruction waits anew", metadata: [
                "file": "\(directory.file(WaitingRecord.file))",
            ])
        }
        let known = record ?? WaitingRecord()
        state = Mutex(State(record: known, written: known))
    }

    /// Takes in what a look at the token has shown.
    func see(_ ring: KeyRing, now: ContinuousClock.Instant = .now, today: UTCDay = .today) {
        var scheduled: [KeyID: UTCDay] = [:]
        for version in ring.keys.flatMap(\.versions) {
            if case .scheduledForDestruction(let day) = version.state { scheduled[version.id] = UTCDay(day) }
        }
        state.withLock { state in
            let elapsed = state.lookedAt.map { $0.duration(to: now) } ?? .zero
            state.lookedAt = now
            state.record.see(scheduled, elapsed: elapsed, today: today)
            guard state.record != state.written else { return }
            let isNews = state.record.versions.mapValues(\.after) != state.written.versions.mapValues(\.after)
            guard isNews || state.writtenAt.duration(to: now) >= Self.writeInterval else { return }
            write(&state, now)
        }
    }

    /// Writes what is not written yet.
    func close() {
        state.withLock { state in if state.record != state.written { write(&state, .now) } }
    }

    private func write(_ state: inout State, _ now: ContinuousClock.Instant) {
        // What fails is tried again after the next interval.
        state.writtenAt = now
        guard let bytes = state.record.bytes else { return }
        do throws(CustodyError) {
            try directory.replace(WaitingRecord.file, with: bytes)
            state.written = state.record
        } catch {
            log.warning("how long versions have waited for their destruction can't be written", metadata: ["cause": "\(error.cause ?? error.message)"])
        }
    }
}
