import Foundation
import Logging
import Synchronization

/// Sees to it that every change of a key stands in the audit log, whichever tool made it: compares each look at the token
/// with the one before, over restarts too.
final class KeyWatch: Sendable {
    private struct Seen: Codable, Equatable {
        var key: String
        var state: String
    }

    private struct State {
        /// By the key id's text.
        var seen: [String: Seen]
        var isWritten = true
    }

    private static let file = "key-states.json"

    private let directory: StateDirectory
    private let audit: AuditLog
    private let log: Logger
    private let state: Mutex<State>

    init(_ directory: StateDirectory, _ audit: AuditLog, log: Logger) throws(CustodyError) {
        self.directory = directory
        self.audit = audit
        self.log = log
        // A damaged file costs no more than that every key is told of again.
        let seen = try directory.read(Self.file).flatMap { try? JSONDecoder().decode([String: Seen].self, from: Data($0)) }
        state = Mutex(State(seen: seen ?? [:]))
    }

    /// Tells of what changed since the latest look. What can't be written now is told after the next look.
    func compare(_ ring: KeyRing) {
        state.withLock { state in
            var now: [String: Seen] = [:]
            for (name, versions) in ring.keys {
                for version in versions { now[version.id.description] = Seen(key: name.description, state: version.state.word) }
            }
            if now != state.seen {
                for id in Set(now.keys).union(state.seen.keys).sorted() where now[id] != state.seen[id] {
                    guard tell(id, state.seen[id], now[id]) else { return }
                    state.seen[id] = now[id]
                    state.isWritten = false
                }
            }
            guard !state.isWritten else { return }
            do {
                try directory.replace(Self.file, with: Array(try JSONEncoder().encode(state.seen)))
                state.isWritten = true
            } catch {
                log.warning("the states of keys can't be written", metadata: ["cause": "\(error)"])
            }
        }
    }

    private func tell(_ id: String, _ old: Seen?, _ new: Seen?) -> Bool {
        let key = new?.key ?? old?.key ?? ""
        let version = UInt32(id.prefix(8), radix: 16) ?? 0
        let event = AuditEvent(
            "key",
            [
                ("key", .text(key)), ("version", .number(UInt64(version))), ("key_id", .text(id)),
                ("from", .text(old?.state ?? "absent")), ("to", .text(new?.state ?? "absent")),
            ])
        do throws(CustodyError) {
            try audit.note(event)
        } catch {
            return false
        }
        log.notice("key changed", metadata: [
            "key": "\(key)", "version": "\(version)", "from": "\(old?.state ?? "absent")", "to": "\(new?.state ?? "absent")",
        ])
        return true
    }
}
