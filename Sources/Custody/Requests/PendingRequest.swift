import Synchronization

/// A request on its way through the pool. It is answered exactly once, by whoever comes first: the worker that did it, the
/// clock when its deadline passes, or the shutdown.
final class PendingRequest: TokenWork {
    /// What is done of it: the operations are done in their order.
    struct Progress {
        var reply: CustodyReply = []
        var records: [AuditRecord] = []
    }

    private enum State {
        case waiting(Progress)
        case running(Progress)
        case done(Progress)
        case answered

        var progress: Progress? {
            switch self {
            case .waiting(let progress), .running(let progress), .done(let progress): progress
            case .answered: nil
            }
        }

        /// A worker begins, or goes on; nil if there is nothing left to do.
        mutating func begin() -> Progress? {
            guard case .waiting(let progress) = self else { return nil }
            self = .running(progress)
            return progress
        }

        /// A worker has done something, unless somebody has answered in its place.
        mutating func pause(_ progress: Progress, isDone: Bool) {
            if case .running = self { self = isDone ? .done(progress) : .waiting(progress) }
        }

        mutating func takeOutcome() -> Progress? {
            guard case .done(let progress) = self else { return nil }
            self = .answered
            return progress
        }

        /// Gives the right to answer before all is done; not while a worker is at it and may still be patient.
        mutating func claim(evenIfRunning: Bool) -> Progress? {
            switch self {
            case .waiting: break
            case .running where evenIfRunning: break
            case .running, .done, .answered: return nil
            }
            defer { self = .answered }
            return progress
        }
    }

    static let late = CustodyError(
        .deadlineExceeded, "the HSM did not answer in time; the operation may have been done all the same",
        retryAfterMilliseconds: 100)

    /// How long after the deadline a worker that is at it is taken to hang. Before that it answers itself, so that the
    /// operations of a batch that it has done in time are not lost.
    private static let grace = Duration.milliseconds(100)

    private let request: CustodyRequest
    private let judgements: [Judgement]
    private let rulebook: Rulebook
    private let custodian: Custodian
    private let completion: @Sendable (CustodyReply) -> Void
    private let state = Mutex(State.waiting(Progress()))
    /// What one of its operations counts of its user's turn: long lines for the audit log take time as well.
    private let weightOfOperation: Int

    /// Lines up to this length are what every operation has.
    private static let usualLine = 4_096

    init(
        _ request: CustodyRequest, _ judgements: [Judgement], _ rulebook: Rulebook, _ custodian: Custodian,
        completion: @escaping @Sendable (CustodyReply) -> Void
    ) {
        self.request = request
        self.judgements = judgements
        self.rulebook = rulebook
        self.custodian = custodian
        self.completion = completion
        weightOfOperation = 1 + request.longestLine / Self.usualLine
    }

    var deadline: ContinuousClock.Instant { request.deadline }
    var user: UInt32 { request.principal.uid }
    var weight: Int { weightOfOperation * (request.items.count - (state.withLock { $0.progress?.reply.count } ?? 0)) }

    var isWaiting: Bool {
        state.withLock { state in
            if case .waiting = state { true } else { false }
        }
    }

    func run(_ worker: inout TokenWorker, atMost operations: Int) {
        guard var progress = state.withLock({ $0.begin() }) else { return }
        custodian.perform(request, judgements, rulebook, atMost: operations, &progress, &worker)
        state.withLock { $0.pause(progress, isDone: progress.reply.count == judgements.count) }
    }

    static func settle(_ batch: [PendingRequest]) {
        var finished: [(PendingRequest, CustodyReply)] = []
        var records: [AuditRecord] = []
        for pending in batch {
            guard let outcome = pending.state.withLock({ $0.takeOutcome() }) else { continue }
            finished.append((pending, outcome.reply))
            records += outcome.records
        }
        guard let custodian = finished.first?.0.custodian else { return }
        let failure = custodian.write(records)
        for (pending, reply) in finished {
            pending.completion(failure.map { failure in reply.map { _ in .failure(failure) } } ?? reply)
        }
    }

    func expire() {
        // Done already, but its worker hangs in something else of the same batch.
        Self.settle([self])
        answer(Self.late, evenIfRunning: deadline + Self.grace <= .now)
    }

    func abandon() {
        Self.settle([self])
        answer(CustodyError(.shuttingDown, "the daemon is shutting down", retryAfterMilliseconds: 500), evenIfRunning: true)
    }

    /// Answers what is done as it is, and the rest with the error.
    private func answer(_ error: CustodyError, evenIfRunning: Bool) {
        guard let done = state.withLock({ $0.claim(evenIfRunning: evenIfRunning) }) else { return }
        let rest = done.reply.count..<judgements.count
        let failure = custodian.write(done.records + rest.map { judgements[$0].record(of: request, $0, unless: error) })
        // What is wrong with an operation for good stays wrong: the caller must not be told to try it again.
        let reply = done.reply + rest.map { .failure(judgements[$0].refusal ?? error) }
        completion(failure.map { failure in reply.map { _ in .failure(failure) } } ?? reply)
    }
}
