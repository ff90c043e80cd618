import Dispatch
import DequeModule
import Foundation
import Synchronization

/// A piece of work for a worker thread.
protocol TokenWork: AnyObject, Sendable {
    /// When the caller stops waiting.
    var deadline: ContinuousClock.Instant { get }
    /// How many HSM operations it stands for.
    var weight: Int { get }
    /// Does the blocking calls; on a worker's thread.
    func run(_ worker: inout TokenWorker)
    /// Answers what a worker has run in one go, so that its pieces share what they can; on the worker's thread.
    static func settle(_ batch: [Self])
    /// Answers that the deadline has passed, if no answer was given yet; on the pool's clock thread.
    func expire()
    /// Answers that the daemon is shutting down, likewise.
    func abandon()
}

/// The threads that call the HSM, behind one bounded queue.
///
/// A worker takes several pieces at once, runs them on its session, and then answers them together: one audit write and
/// one wake-up of the other side serve them all. A clock thread answers for pieces whose deadline passes, also while a
/// worker hangs in a call.
final class TokenPool<Work: TokenWork>: Sendable {
    private struct State {
        var queue = Deque<Work>()
        /// What each worker has taken and not settled.
        var running: [[Work]]
        var idleWorkers = 0
        var isClockIdle = false
        var isStopping = false
    }

    let queueLimit: Int
    private let connection: TokenConnection
    private let state: Mutex<State>
    private let workAvailable = DispatchSemaphore(value: 0)
    private let clockNeeded = DispatchSemaphore(value: 0)
    private let threadEnded = DispatchSemaphore(value: 0)
    private let workers: Int
    /// How many operations a worker takes at once: enough to share wake-ups and writes, little enough that answers leave
    /// while it works.
    private let batchWeight = 16
    private let clockTick = Duration.milliseconds(20)

    init(_ connection: TokenConnection, workers: Int, queueLimit: Int) {
        self.connection = connection
        self.workers = workers
        self.queueLimit = queueLimit
        state = Mutex(State(running: Array(repeating: [], count: workers)))
    }

    func start() {
        for index in 0..<workers {
            startThread("token-worker-\(index)") { self.work(index) }
        }
        startThread("token-clock") { self.watchDeadlines() }
    }

    private func startThread(_ name: String, _ body: @escaping @Sendable () -> Void) {
        let thread = Thread {
            body()
            self.threadEnded.signal()
        }
        thread.name = name
        thread.start()
    }

    /// How many pieces wait for a worker.
    var queued: Int { state.withLock { $0.queue.count } }

    /// Queues a piece of work.
    ///
    /// - Throws: ``CustodyError`` with `overloaded` if the queue is full, `shuttingDown` after ``stop(drainingFor:)``.
    func submit(_ work: Work) throws(CustodyError) {
        let verdict: Verdict = state.withLock { state in
            guard !state.isStopping else { return .stopping }
            guard state.queue.count < queueLimit else { return .full }
            state.queue.append(work)
            let wakeWorker = state.idleWorkers > 0
            if wakeWorker { state.idleWorkers -= 1 }
            let wakeClock = state.isClockIdle
            state.isClockIdle = false
            return .accepted(wakeWorker: wakeWorker, wakeClock: wakeClock)
        }
        switch verdict {
        case .full:
            throw CustodyError(.overloaded, "the daemon has \(queueLimit) requests waiting for the HSM already", retryAfterMilliseconds: 50)
        case .stopping:
            throw CustodyError(.shuttingDown, "the daemon is shutting down", retryAfterMilliseconds: 500)
        case .accepted(let wakeWorker, let wakeClock):
            if wakeWorker { workAvailable.signal() }
            if wakeClock { clockNeeded.signal() }
        }
    }

    /// Takes no more work, lets the workers finish what is queued, and answers what is left after `patience`.
    func stop(drainingFor patience: Duration) {
        let idle: Int? = state.withLock { state in
            guard !state.isStopping else { return nil }
            state.isStopping = true
            defer { state.idleWorkers = 0 }
            return state.idleWorkers
        }
        guard let idle else { return }
        for _ in 0..<idle { workAvailable.signal() }
        clockNeeded.signal()
        let end = DispatchTime.now() + patience.dispatchInterval
        for _ in 0..<(workers + 1) where threadEnded.wait(timeout: end) == .timedOut { break }
        let left = state.withLock { state in
            defer { state.queue = [] }
            return Array(state.queue) + state.running.flatMap { $0 }
        }
        for work in left { work.abandon() }
    }

    // MARK: Threads

    private func work(_ index: Int) {
        var worker = TokenWorker(connection)
        while let batch = takeBatch(index) {
            worker.begin()
            for work in batch { work.run(&worker) }
            worker.end()
            Work.settle(batch)
        }
    }

    /// Waits for work; nil when the pool has stopped and the queue is empty.
    private func takeBatch(_ index: Int) -> [Work]? {
        while true {
            let next: Next<[Work]> = state.withLock { state in
                guard !state.queue.isEmpty else {
                    state.running[index] = []
                    if state.isStopping { return .end }
                    state.idleWorkers += 1
                    return .wait
                }
                // Several workers share what is there.
                let share = (state.queue.count + workers - 1) / workers
                var batch: [Work] = []
                var weight = 0
                while batch.count < share, weight < batchWeight, let work = state.queue.popFirst() {
                    batch.append(work)
                    weight += work.weight
                }
                state.running[index] = batch
                return .go(batch)
            }
            switch next {
            case .go(let batch): return batch
            case .wait: workAvailable.wait()
            case .end: return nil
            }
        }
    }

    private func watchDeadlines() {
        while true {
            let next: Next<[Work]> = state.withLock { state in
                let now = ContinuousClock.now
                let outstanding = Array(state.queue) + state.running.flatMap { $0 }
                // What is answered below makes room, and its plaintext goes, also while the workers hang.
                state.queue.removeAll { $0.deadline <= now }
                guard outstanding.isEmpty else { return .go(outstanding.filter { $0.deadline <= now }) }
                if state.isStopping { return .end }
                state.isClockIdle = true
                return .wait
            }
            switch next {
            case .go(let late):
                for work in late { work.expire() }
                _ = clockNeeded.wait(timeout: .now() + clockTick.dispatchInterval)
            case .wait: clockNeeded.wait()
            case .end: return
            }
        }
    }
}

private enum Verdict {
    case full
    case stopping
    case accepted(wakeWorker: Bool, wakeClock: Bool)
}

private enum Next<Subject> {
    case go(Subject)
    case wait
    case end
}
