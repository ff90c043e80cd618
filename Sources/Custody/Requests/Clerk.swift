import DequeModule
import Dispatch
import Foundation
import Synchronization

/// What needs no HSM: status, reloading, and answers to what is refused. One thread writes their audit records, many at a
/// time, so that neither the event loop nor a worker waits for the disk because of them.
final class Clerk: Sendable {
    struct Errand: Sendable {
        let request: CustodyRequest
        let judgements: [Judgement]
        let completion: @Sendable (CustodyReply) -> Void
    }

    private struct State {
        var errands = Deque<Errand>()
        /// Answers that are held back, and until when; in that order.
        var held = Deque<(until: ContinuousClock.Instant, errand: Errand)>()
        var isIdle = false
        var isStopping = false
    }

    private let limit: Int
    private let state = Mutex(State())
    private let wake = DispatchSemaphore(value: 0)
    private let ended = DispatchSemaphore(value: 0)
    /// How many errands share one write.
    private let batch = 64

    /// For how long a refusal is held back. Whoever is past a limit gains nothing by another try at once, and a storm of
    /// refused requests then takes no time from the others: its requests in flight are bounded.
    private static let pause = Duration.milliseconds(50)

    /// - Parameter limit: How many errands may wait, and how many answers may be held back.
    init(limit: Int) { self.limit = limit }

    func start(_ serve: @escaping @Sendable ([Errand]) -> Void) {
        let thread = Thread {
            while let errands = self.next() { serve(errands) }
            self.ended.signal()
        }
        thread.name = "clerk"
        thread.start()
    }

    /// - Parameter isHeld: It is a refusal that is not answered at once.
    /// - Throws: ``CustodyError`` with `overloaded` or `shuttingDown`.
    func submit(_ errand: Errand, isHeld: Bool = false) throws(CustodyError) {
        let verdict: Result<Bool, CustodyError> = state.withLock { state in
            guard !state.isStopping else {
                return .failure(CustodyError(.shuttingDown, "the daemon is shutting down", retryAfterMilliseconds: 500))
            }
            guard isHeld ? state.held.count < limit : state.errands.count < limit else {
                return .failure(CustodyError(.overloaded, "the daemon has \(limit) answers to record already", retryAfterMilliseconds: 50))
            }
            if isHeld {
                state.held.append((.now + Self.pause, errand))
                // While others are held back it is awake in time by itself.
                guard state.held.count == 1 else { return .success(false) }
            } else {
                state.errands.append(errand)
            }
            defer { state.isIdle = false }
            return .success(state.isIdle)
        }
        if try verdict.get() { wake.signal() }
    }

    /// Takes no more errands and returns when those that wait are done, or after `patience`.
    func stop(within patience: Duration) {
        let isIdle = state.withLock { state in
            state.isStopping = true
            defer { state.isIdle = false }
            return state.isIdle
        }
        if isIdle { wake.signal() }
        _ = ended.wait(timeout: .now() + patience.dispatchInterval)
        // Whoever stops again finds it ended.
        ended.signal()
    }

    /// Waits for errands; nil when there will be no more.
    private func next() -> [Errand]? {
        while true {
            let (errands, next): ([Errand]?, ContinuousClock.Instant?) = state.withLock { state in
                let now = ContinuousClock.now
                while let first = state.held.first, first.until <= now || state.isStopping {
                    state.errands.append(first.errand)
                    state.held.removeFirst()
                }
                guard !state.errands.isEmpty else {
                    state.isIdle = !state.isStopping
                    return (state.isStopping ? nil : [], state.held.first?.until)
                }
                let errands = Array(state.errands.prefix(batch))
                state.errands.removeFirst(errands.count)
                return (errands, nil)
            }
            guard let errands else { return nil }
            if !errands.isEmpty { return errands }
            if let next {
                _ = wake.wait(timeout: .now() + ContinuousClock.now.duration(to: next).dispatchInterval)
            } else {
                wake.wait()
            }
        }
    }
}
