import Foundation
import Logging
import Synchronization

/// Counts what key versions are used for: random nonces allow only so many encryptions under one key (NIST SP 800-38D
/// section 8.3).
///
/// The file says how many uses are reserved, and a use is counted before it happens, so after a crash the count is too high
/// by what was reserved and not used, never too low. A clean end writes the exact number. Reservations begin small and
/// double, so that a quiet service does not lose much to a crash and a busy one does not wait for the disk.
package final class UsageLedger: Sendable {
    private struct Entry {
        var usage: KeyUsage
        /// What the file says.
        var reserved: UInt64
        var nextReservation = UsageLedger.smallestReservation
        var isWarned = false
    }

    private struct State {
        var entries: [KeyID: Entry] = [:]
        var limit: UInt64
        /// When the counting began, in milliseconds since 1970.
        var since: UInt64
        var lastWritten = ContinuousClock.now
        /// There are times of use that the file does not have.
        var isStale = false
    }

    private static let smallestReservation: UInt64 = 64
    private static let largestReservation: UInt64 = 65_536
    /// How old the times of last use in the file may be.
    private static let refreshInterval = Duration.seconds(10)
    private static let file = "key-usage.json"

    private let directory: StateDirectory
    private let log: Logger
    private let state: Mutex<State>

    /// - Parameter limit: Uses per version, past which it wraps no more.
    /// - Throws: ``CustodyError`` with `stateUnavailable` if the file can't be read or is damaged.
    init(_ directory: StateDirectory, limit: UInt64, log: Logger) throws(CustodyError) {
        self.directory = directory
        self.log = log
        let content = try directory.read(Self.file)
        let (usage, since) = try Self.decode(content, directory.file(Self.file))
        state = Mutex(State(entries: usage.mapValues { Entry(usage: $0, reserved: $0.uses) }, limit: limit, since: since))
        if content == nil {
            log.notice("the uses of keys are counted from now on; keys that were used before should be rotated", metadata: [
                "file": "\(directory.file(Self.file))",
            ])
            try state.withLock { state throws(CustodyError) in try write(&state) { $0.reserved } }
        }
    }

    /// When the counting began, in milliseconds since 1970.
    var since: UInt64 { state.withLock { $0.since } }

    var limit: UInt64 { state.withLock { $0.limit } }

    func setLimit(_ limit: UInt64) { state.withLock { $0.limit = limit } }

    /// What was counted, by version.
    var usage: [KeyID: KeyUsage] { state.withLock { $0.entries.mapValues(\.usage) } }

    /// Counts one encryption that is about to happen.
    ///
    /// - Returns: How many were counted before it: no number comes twice, also after a crash.
    /// - Throws: ``CustodyError`` with `keyExhausted` past the limit, `stateUnavailable` if the count can't be written.
    @discardableResult
    func countEncryption(with key: KeyVersion) throws(CustodyError) -> UInt64 {
        let result: Result<UInt64, CustodyError> = state.withLock { state in
            var entry = state.entries[key.id] ?? Entry(usage: KeyUsage(), reserved: 0)
            guard entry.usage.uses < state.limit else {
                return .failure(CustodyError(
                    .keyExhausted,
                    "\(key.title) has been used \(entry.usage.uses) times, which is all that its random nonces allow; `custodyctl key rotate \(key.name)` adds a version"))
            }
            if entry.usage.uses >= entry.reserved {
                entry.reserved = min(entry.usage.uses + entry.nextReservation, state.limit)
                entry.nextReservation = min(entry.nextReservation * 2, Self.largestReservation)
                var next = state
                next.entries[key.id] = entry
                do throws(CustodyError) {
                    try write(&next) { $0.reserved }
                } catch {
                    return .failure(error)
                }
                state = next
            }
            let number = entry.usage.uses
            entry.usage.uses += 1
            entry.usage.lastEncrypted = WallClock.milliseconds
            if !entry.isWarned, entry.usage.uses >= state.limit / 2 {
                entry.isWarned = true
                log.warning(
                    "a key version has been used half as often as its nonces allow; rotate the key",
                    metadata: ["key": "\(key.name)", "version": "\(key.version)", "uses": "\(entry.usage.uses)", "limit": "\(state.limit)"])
            }
            state.entries[key.id] = entry
            return .success(number)
        }
        return try result.get()
    }

    /// Notes that a version opened something.
    func noteDecryption(with id: KeyID) {
        note(id) { $0.lastDecrypted = WallClock.milliseconds }
    }

    /// Notes that a blob of this version was moved to another.
    func noteRewrap(from id: KeyID) {
        note(id) { $0.rewrapped += 1 }
    }

    private func note(_ id: KeyID, _ change: (inout KeyUsage) -> Void) {
        state.withLock { state in
            change(&state.entries[id, default: Entry(usage: KeyUsage(), reserved: 0)].usage)
            state.isStale = true
        }
    }

    /// Writes times of use that are not in the file yet, now and then. Called again and again by a thread that may
    /// wait for the disk.
    func refresh() {
        let failure: CustodyError? = state.withLock { state in
            guard state.isStale, state.lastWritten.duration(to: .now) > Self.refreshInterval else { return nil }
            do throws(CustodyError) {
                try write(&state) { $0.reserved }
                return nil
            } catch {
                // No count depends on these times: the next time tries again.
                state.lastWritten = .now
                return error
            }
        }
        if let failure { log.warning("the uses of keys can't be written", metadata: ["cause": "\(failure.cause ?? failure.message)"]) }
    }

    /// Writes the exact counts; nothing may be counted afterwards.
    func close() {
        let failure: CustodyError? = state.withLock { state in
            do throws(CustodyError) {
                try write(&state) { $0.usage.uses }
                return nil
            } catch {
                return error
            }
        }
        if let failure {
            log.warning("the uses of keys can't be written; they are counted too high from now on", metadata: ["cause": "\(failure.cause ?? failure.message)"])
        }
    }

    // MARK: The file

    private struct Document: Codable {
        struct Version: Codable {
            var uses: UInt64
            var rewrapped: UInt64
            var lastEncrypted: UInt64?
            var lastDecrypted: UInt64?
        }
        var format: Int
        var since: UInt64
        var versions: [String: Version]
    }

    private func write(_ state: inout State, uses: (Entry) -> UInt64) throws(CustodyError) {
        var document = Document(format: 1, since: state.since, versions: [:])
        for (id, entry) in state.entries {
            document.versions[id.description] = .init(
                uses: uses(entry), rewrapped: entry.usage.rewrapped, lastEncrypted: entry.usage.lastEncrypted,
                lastDecrypted: entry.usage.lastDecrypted)
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        guard let bytes = try? encoder.encode(document) else {
            throw CustodyError(.internalError, "the uses of keys can't be encoded")
        }
        try directory.replace(Self.file, with: Array(bytes) + [UInt8(ascii: "\n")])
        state.lastWritten = .now
        state.isStale = false
    }

    package static func decode(
        _ bytes: [UInt8]?, _ path: String
    ) throws(CustodyError) -> (usage: [KeyID: KeyUsage], since: UInt64) {
        guard let bytes else { return ([:], WallClock.milliseconds) }
        func damaged(_ why: String) -> CustodyError {
            CustodyError(
                .stateUnavailable,
                "\(path) is damaged: \(why). Restore it from a backup, or move it away: then the uses of keys are counted from 0, so rotate every key first")
        }
        guard let document = try? JSONDecoder().decode(Document.self, from: Data(bytes)) else { throw damaged("it can't be read") }
        guard document.format == 1 else { throw damaged("it has format \(document.format), this release knows 1") }
        var found: [KeyID: KeyUsage] = [:]
        for (text, version) in document.versions {
            guard let digits = AuditChain.bytes(lowercaseHexadecimal: Array(text.utf8)), let id = KeyID(digits) else {
                throw damaged("'\(text)' is no key id")
            }
            // They are counted on from.
            guard max(version.uses, version.rewrapped) <= 1 << 62 else { throw damaged("'\(text)' has counts that no daemon reaches") }
            var usage = KeyUsage()
            usage.uses = version.uses
            usage.rewrapped = version.rewrapped
            usage.lastEncrypted = version.lastEncrypted
            usage.lastDecrypted = version.lastDecrypted
            found[id] = usage
        }
        return (found, document.since)
    }
}
