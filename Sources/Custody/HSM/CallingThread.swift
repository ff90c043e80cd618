import Synchronization

/// A thread that calls into the PKCS#11 module, as seen by those who watch whether it comes back.
///
/// A call can't be interrupted. A thread that does not return from one in time is given up: another takes its place, and
/// what it brings back, if it ever does, is of use only to who still waits for it.
final class CallingThread: Sendable {
    private enum State {
        case outside
        case inside(since: ContinuousClock.Instant, patience: Duration, isReplaceable: Bool)
        /// Is in a call that took too long, or is on its way out after it.
        case givenUp
    }

    let name: String
    private let state = Mutex(State.outside)

    init(_ name: String) { self.name = name }

    /// Runs calls of the module.
    ///
    /// - Parameters:
    ///   - patience: After which they are taken to hang.
    ///   - isReplaceable: Whether another thread may then call the module in this one's place.
    func calling<R: ~Copyable, E>(
        within patience: Duration, isReplaceable: Bool = true, _ body: () throws(E) -> R
    ) throws(E) -> R {
        state.withLock { state in
            guard case .outside = state else { return }
            state = .inside(since: .now, patience: patience, isReplaceable: isReplaceable)
        }
        defer {
            state.withLock { state in
                if case .inside = state { state = .outside }
            }
        }
        return try body()
    }

    var isGivenUp: Bool {
        state.withLock { state in
            if case .givenUp = state { true } else { false }
        }
    }

    /// What the watch finds.
    enum Finding { case well, hangs, hangsForGood }

    /// Whether the thread is in a call that takes too long.
    func finding(at now: ContinuousClock.Instant) -> Finding {
        state.withLock { state in
            guard case .inside(let since, let patience, let isReplaceable) = state, since.duration(to: now) > patience else {
                return .well
            }
            return isReplaceable ? .hangs : .hangsForGood
        }
    }

    /// Gives the thread up if it still hangs; whether it was.
    func giveUp(at now: ContinuousClock.Instant) -> Bool {
        state.withLock { state in
            guard case .inside(let since, let patience, true) = state, since.duration(to: now) > patience else { return false }
            state = .givenUp
            return true
        }
    }
}
