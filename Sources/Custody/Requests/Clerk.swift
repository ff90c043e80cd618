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
        var isIdle = false
        var isStopping = false
    }

    private let limit: Int
    private let state = Mutex(State())
    private let wake = DispatchSemaphore(value: 0)
    private let ended = DispatchSemaphore(value: 0)
    /// How many errands share one write.
    private let batch = 64

    /// - Parameter limit: How many errands may wait.
    init(limit: Int) { self.limit = limit }

    func start(_ serve: @escaping @Sendable ([Errand]) -> Void) {
        let thread = Thread {
            while let errands = self.next() { serve(errands) }
            self.ended.signal()
        }
        thread.name = "clerk"
        thread.start()
    }

    /// - Throws: ``CustodyError`` with `overloaded` or `shuttingDown`.
    func submit(_ errand: Errand) throws(CustodyError) {
        let verdict: Result<Bool, CustodyError> = state.withLock { state in
            guard !state.isStopping else {
                return .failure(CustodyError(.shuttingDown, "the daemon is shutting down", retryAfterMilliseconds: 500))
            }
            guard state.errands.count < limit else {
                return .failure(CustodyError(.overloaded, "the daemon has \(limit) answers to record already", retryAfterMilliseconds: 50))
            }
            state.errands.append(errand)
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
            let errands: [Errand]? = state.withLock { state in
                guard !state.errands.isEmpty else {
                    state.isIdle = !state.isStopping
                    return state.isStopping ? nil : []
                }
                let errands = Array(state.errands.prefix(batch))
                state.errands.removeFirst(errands.count)
                return errands
            }
            guard let errands else { return nil }
            if !errands.isEmpty { return errands }
            wake.wait()
        }
    }
}
