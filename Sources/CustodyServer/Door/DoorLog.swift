import Logging
import Synchronization

/// The log's lines about what clients do wrong: of one kind and account one line a second, with the number of those that
/// were left out, so that a flood of connects or of garbage does not become a flood of lines.
final class DoorLog: Sendable {
    private struct Key: Hashable {
        let message: String
        let account: DoorBudget.Account
    }

    private struct Window {
        let end: ContinuousClock.Instant
        var leftOut = 0
    }

    private static let length = Duration.seconds(1)
    /// More kinds and accounts than this share a window for each kind.
    private static let capacity = 256

    let logger: Logger
    private let windows = Mutex<[Key: Window]>([:])

    init(_ logger: Logger) { self.logger = logger }

    /// - Parameter metadata: Not asked for if the line is left out.
    func note(
        _ message: String, _ account: DoorBudget.Account, now: ContinuousClock.Instant = .now, _ metadata: () -> Logger.Metadata
    ) {
        let leftOut: Int? = windows.withLock { windows in
            var key = Key(message: message, account: account)
            if windows[key] == nil, windows.count >= Self.capacity { key = Key(message: message, account: .max) }
            if let window = windows[key], window.end > now {
                windows[key]?.leftOut += 1
                return nil
            }
            let leftOut = windows[key]?.leftOut ?? 0
            windows[key] = Window(end: now + Self.length)
            return leftOut
        }
        guard let leftOut else { return }
        var metadata = metadata()
        if leftOut > 0 { metadata["leftOut"] = "\(leftOut)" }
        logger.warning("\(message)", metadata: metadata)
    }

    /// Says what was left out in windows that have ended.
    func sweep(now: ContinuousClock.Instant = .now) {
        let ended = windows.withLock { windows in
            let ended = windows.filter { $0.value.end <= now }
            for key in ended.keys { windows[key] = nil }
            return ended
        }
        for (key, window) in ended where window.leftOut > 0 {
            logger.warning("\(key.message)", metadata: [
                "uid": key.account == .max ? "any that no grant names" : "\(key.account)", "leftOut": "\(window.leftOut)",
            ])
        }
    }
}
