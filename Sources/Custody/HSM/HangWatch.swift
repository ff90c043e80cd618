import Dispatch
import Foundation
import Synchronization

/// Watches the threads that call the HSM's module, and gives up those that do not come back.
///
/// So many may hang at once and are replaced. Past that nothing is replaced any more and ``isAlive`` is false: whoever
/// restarts services is then let do so.
final class HangWatch: Sendable {
    private struct Watched {
        let thread: CallingThread
        let onHang: @Sendable () -> Void
        let replace: @Sendable () -> Void
    }

    private struct State {
        var watched: [Watched] = []
        var hanging: [CallingThread] = []
        /// Those that were given up and whose place is empty, though they may have come back meanwhile.
        var unreplaced: [Watched] = []
        /// A thread hangs in a call that no other thread may repeat.
        var isStuck = false
        var latestLook = ContinuousClock.now
        var isStopping = false
    }

    /// How many threads may hang at once.
    let limit: Int
    private let state = Mutex(State())
    private let wake = DispatchSemaphore(value: 0)
    private let interval: Duration

    init(limit: Int, hungAfter: Duration) {
        self.limit = limit
        interval = min(.milliseconds(250), max(.milliseconds(10), hungAfter / 8))
    }

    /// - Parameter onLook: Called at each look, on the watch's thread.
    func start(onLook: @escaping @Sendable () -> Void) {
        let thread = Thread {
            while self.state.withLock({ !$0.isStopping }) {
                self.look()
                onLook()
                _ = self.wake.wait(timeout: .now() + self.interval.dispatchInterval)
            }
        }
        thread.name = "token-watch"
        thread.start()
    }

    func stop() {
        state.withLock { $0.isStopping = true }
        wake.signal()
    }

    /// - Parameters:
    ///   - onHang: Called when the thread is given up.
    ///   - replace: Called after that, as soon as no more than the limit hang: starts another thread in its place.
    func watch(_ thread: CallingThread, onHang: @escaping @Sendable () -> Void = {}, replace: @escaping @Sendable () -> Void) {
        state.withLock { $0.watched.append(Watched(thread: thread, onHang: onHang, replace: replace)) }
    }

    /// A thread has ended. One that was given up has been replaced, or is replaced as soon as that may be.
    func forget(_ thread: CallingThread) {
        state.withLock { state in
            state.watched.removeAll { $0.thread === thread }
            state.hanging.removeAll { $0 === thread }
        }
    }

    /// How many threads hang now.
    var hanging: Int { state.withLock { $0.hanging.count + ($0.isStuck ? 1 : 0) } }

    /// Whether a thread hangs in a call that no other may repeat, such as a login.
    var isStuck: Bool { state.withLock { $0.isStuck } }

    /// Whether hanging threads are still replaced, and the watch itself lives.
    var isAlive: Bool {
        state.withLock { state in
            !state.isStuck && state.hanging.count <= limit && state.latestLook.duration(to: .now) < .seconds(10)
        }
    }

    private func look() {
        let now = ContinuousClock.now
        let givenUp = state.withLock { state -> [Watched] in
            state.latestLook = now
            state.isStuck = state.watched.contains { $0.thread.finding(at: now) == .hangsForGood }
            let givenUp = state.watched.filter { $0.thread.giveUp(at: now) }
            state.watched.removeAll { watched in givenUp.contains { $0.thread === watched.thread } }
            state.hanging += givenUp.map(\.thread)
            return givenUp
        }
        for watched in givenUp { watched.onHang() }
        let replaceable = state.withLock { state -> [Watched] in
            state.unreplaced += givenUp
            guard state.hanging.count <= limit, !state.isStopping else { return [] }
            defer { state.unreplaced = [] }
            return state.unreplaced
        }
        for watched in replaceable { watched.replace() }
    }
}
