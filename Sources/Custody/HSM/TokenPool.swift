import Dispatch
import Foundation
import Synchronization

/// A piece of work for a worker thread.
protocol TokenWork: AnyObject, Sendable {
    /// When the caller stops waiting.
    var deadline: ContinuousClock.Instant { get }
    /// Whose it is: users are served in turn.
    var user: UInt32 { get }
    /// How many HSM operations of it are left, or more than that if they cost as much as more.
    var weight: Int { get }
    /// Whether operations are left and no worker is at them.
    var isWaiting: Bool { get }
    /// Does the blocking calls of its next operations; on a worker's thread. Does nothing if another worker is at it.
    func run(_ worker: inout TokenWorker, atMost operations: Int)
    /// Answers those pieces of what a worker has run in one go that are done, so that they share what they can; on the
    /// worker's thread.
    static func settle(_ batch: [Self])
    /// Answers that the deadline has passed, if no answer was given yet; on the pool's clock thread.
    func expire()
    /// Answers that the daemon is shutting down, likewise.
    func abandon()
}

/// The threads that call the HSM, behind one bounded queue that serves its users in turn.
///
/// A worker takes several pieces at once, runs them on its session, and then answers them together: one audit write and
/// one wake-up of the other side serve them all. A piece of many operations is done in slices, between which other users
/// have their turns.
///
/// A clock thread answers for pieces whose deadline passes, also while a worker hangs in a call. A worker that hangs for long
/// is given up: another thread takes its place, and what the first had not begun; what it had begun with slices goes on when
/// it comes back.
final class TokenPool<Work: TokenWork>: Sendable {
    /// The place of a worker.
    private struct Slot {
        /// Who works there; nil while the last one hangs and is not replaced.
        var thread: CallingThread?
        /// What it has taken and not settled.
        var running: [Work] = []
    }

    private struct State {
        var queue: FairQueue<Work>
        var slots: [Slot]
        /// What threads had begun that hang in it.
        var stranded: [ObjectIdentifier: [Work]] = [:]
        var idleWorkers = 0
        var isClockIdle = false
        var isStopping = false

        /// Everything that somebody waits for.
        var outstanding: [Work] { Array(queue) + slots.flatMap(\.running) + stranded.values.flatMap { $0 } }
    }

    let queueLimit: Int
    private let connection: TokenConnection
    private let state: Mutex<State>
    private let workAvailable = DispatchSemaphore(value: 0)
    private let clockNeeded = DispatchSemaphore(value: 0)
    private let placeEmptied = DispatchSemaphore(value: 0)
    private let workers: Int
    /// How many operations a worker takes at once, and of one piece: enough to share wake-ups and writes, little enough that
    /// answers leave while it works.
    private let slice = 16
    private let clockTick = Duration.milliseconds(20)

    /// - Parameter queueLimit: How many pieces may wait; half of them, of one user.
    init(_ connection: TokenConnection, workers: Int, queueLimit: Int) {
        self.connection = connection
        self.workers = workers
        self.queueLimit = queueLimit
        let queue = FairQueue<Work>(limit: queueLimit, limitPerUser: (queueLimit + 1) / 2, turn: slice)
        state = Mutex(State(queue: queue, slots: Array(repeating: Slot(), count: workers)))
    }

    func start() {
        for index in 0..<workers { startWorker(index) }
        startThread("token-clock") {
            self.watchDeadlines()
            self.placeEmptied.signal()
        }
    }

    private func startThread(_ name: String, _ body: @escaping @Sendable () -> Void) {
        let thread = Thread { body() }
        thread.name = name
        thread.start()
    }

    /// How many pieces wait for a worker.
    var queued: Int { state.withLock { $0.queue.count } }

    /// Queues a piece of work.
    ///
    /// - Throws: ``CustodyError`` with `overloaded` if the queue is full, `tokenUnavailable` if every worker hangs and is not
    ///   replaced, `shuttingDown` after ``stop(drainingFor:)``.
    func submit(_ work: Work) throws(CustodyError) {
        let isAlive = connection.isAlive
        let verdict: Verdict = state.withLock { state in
            guard !state.isStopping else { return .stopping }
            guard isAlive || state.slots.contains(where: { $0.thread != nil }) else { return .hanging }
            switch state.queue.append(work, of: work.user, weight: min(work.weight, slice)) {
            case .admitted: break
            case .full: return .full
            case .userIsFull: return .userIsFull
            }
            let wakeWorker = state.idleWorkers > 0
            if wakeWorker { state.idleWorkers -= 1 }
            let wakeClock = state.isClockIdle
            state.isClockIdle = false
            return .accepted(wakeWorker: wakeWorker, wakeClock: wakeClock)
        }
        switch verdict {
        case .full:
            throw CustodyError(.overloaded, "the daemon has \(queueLimit) requests waiting for the HSM already", retryAfterMilliseconds: 50)
        case .userIsFull:
            throw CustodyError(
                .overloaded, "you have half of the \(queueLimit) places for requests that wait for the HSM; the others are for other users",
                retryAfterMilliseconds: 50)
        case .hanging:
            throw CustodyError(.tokenUnavailable, "calls of the HSM's module do not return", retryAfterMilliseconds: 1_000)
        case .stopping:
            throw CustodyError(.shuttingDown, "the daemon is shutting down", retryAfterMilliseconds: 500)
        case .accepted(let wakeWorker, let wakeClock):
            if wakeWorker { workAvailable.signal() }
            if wakeClock { clockNeeded.signal() }
        }
    }

    /// Takes no more work, lets the workers finish what is queued, and answers what is left after `patience`.
    func stop(drainingFor patience: Duration) {
        let (idle, places): (Int, Int) = state.withLock { state in
            guard !state.isStopping else { return (0, 0) }
            state.isStopping = true
            defer { state.idleWorkers = 0 }
            // With the clock's.
            return (state.idleWorkers, state.slots.count { $0.thread != nil } + 1)
        }
        guard places > 0 else { return }
        for _ in 0..<idle { workAvailable.signal() }
        clockNeeded.signal()
        let end = DispatchTime.now() + patience.dispatchInterval
        for _ in 0..<places where placeEmptied.wait(timeout: end) == .timedOut { break }
        let left = state.withLock { state in
            defer { _ = state.queue.removeAll() }
            return state.outstanding
        }
        for work in left { work.abandon() }
    }

    // MARK: Workers

    private func startWorker(_ index: Int) {
        let thread = CallingThread("token-worker-\(index)")
        let isOpen = state.withLock { state in
            if !state.isStopping { state.slots[index].thread = thread }
            return !state.isStopping
        }
        guard isOpen else { return }
        connection.watch.watch(thread, onHang: { self.strand(thread, index) }, replace: { self.startWorker(index) })
        startThread(thread.name) { self.work(index, thread) }
    }

    private func work(_ index: Int, _ thread: CallingThread) {
        serve(index, thread)
        connection.watch.forget(thread)
        guard thread.isGivenUp else {
            placeEmptied.signal()
            return
        }
        // If the watch has not come to it yet.
        strand(thread, index)
        unstrand(thread)
    }

    private func serve(_ index: Int, _ thread: CallingThread) {
        var worker = TokenWorker(connection, thread)
        while let batch = takeBatch(index, thread) {
            worker.begin()
            for work in batch where !thread.isGivenUp { work.run(&worker, atMost: slice) }
            worker.end()
            Work.settle(batch)
        }
        worker.leave()
    }

    /// The thread hangs: what it has not begun goes back, what it has begun waits for it as long as its caller does.
    private func strand(_ thread: CallingThread, _ index: Int) {
        connection.strand(thread)
        let (isStopping, wakeWorker) = state.withLock { state in
            guard state.slots[index].thread === thread else { return (false, false) }
            let running = state.slots[index].running
            state.slots[index] = Slot()
            state.stranded[ObjectIdentifier(thread)] = running.filter { !$0.isWaiting }
            for work in running.reversed() where work.isWaiting {
                state.queue.prepend(work, of: work.user, weight: min(work.weight, slice))
            }
            let wakeWorker = state.idleWorkers > 0 && !state.queue.isEmpty
            if wakeWorker { state.idleWorkers -= 1 }
            return (state.isStopping, wakeWorker)
        }
        if wakeWorker { workAvailable.signal() }
        // Nobody waits for it at the end.
        if isStopping { placeEmptied.signal() }
    }

    /// The thread has come back, and ends. What it did a slice of and has more to do is done by others.
    private func unstrand(_ thread: CallingThread) {
        let (left, wakeWorker): ([Work], Bool) = state.withLock { state in
            let left = (state.stranded.removeValue(forKey: ObjectIdentifier(thread)) ?? []).filter(\.isWaiting)
            // The others may have ended already.
            guard !state.isStopping else { return (left, false) }
            for work in left { state.queue.resume(work, of: work.user, weight: min(work.weight, slice)) }
            let wakeWorker = state.idleWorkers > 0 && !left.isEmpty
            if wakeWorker { state.idleWorkers -= 1 }
            return ([], wakeWorker)
        }
        if wakeWorker { workAvailable.signal() }
        for work in left { work.abandon() }
    }

    /// Waits for work; nil when the pool has stopped and the queue is empty, or when the thread was given up.
    private func takeBatch(_ index: Int, _ thread: CallingThread) -> [Work]? {
        while true {
            let next: Next<[Work]> = state.withLock { state in
                // What a thread that was given up leaves undone goes back with the rest that it had taken.
                guard state.slots[index].thread === thread, !thread.isGivenUp else { return .end }
                for work in state.slots[index].running where work.isWaiting {
                    state.queue.resume(work, of: work.user, weight: min(work.weight, slice))
                }
                guard !state.queue.isEmpty else {
                    state.slots[index].running = []
                    if state.isStopping { return .end }
                    state.idleWorkers += 1
                    return .wait
                }
                // Several workers share what is there.
                let share = (state.queue.count + workers - 1) / workers
                var batch: [Work] = []
                var weight = 0
                while batch.count < share, weight < slice, let work = state.queue.popFirst() {
                    batch.append(work)
                    weight += min(work.weight, slice)
                }
                state.slots[index].running = batch
                return .go(batch)
            }
            switch next {
            case .go(let batch): return batch
            case .wait: workAvailable.wait()
            case .end: return nil
            }
        }
    }

    // MARK: The clock

    private func watchDeadlines() {
        while true {
            let next: Next<[Work]> = state.withLock { state in
                let now = ContinuousClock.now
                let outstanding = state.outstanding
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
    case userIsFull
    case hanging
    case stopping
    case accepted(wakeWorker: Bool, wakeClock: Bool)
}

private enum Next<Subject> {
    case go(Subject)
    case wait
    case end
}
