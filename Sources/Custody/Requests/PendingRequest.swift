import Synchronization

/// A request on its way through the pool. It is answered exactly once, by whoever comes first: the worker that did it, the
/// clock when its deadline passes, or the shutdown.
final class PendingRequest: TokenWork {
    private enum State {
        case waiting
        case running
        case done(CustodyReply, [AuditRecord])
        case answered

        /// A worker begins; false if there is nothing left to do.
        mutating func begin() -> Bool {
            guard case .waiting = self else { return false }
            self = .running
            return true
        }

        /// A worker has finished, unless somebody has answered in its place.
        mutating func finish(_ reply: CustodyReply, _ records: [AuditRecord]) {
            if case .running = self { self = .done(reply, records) }
        }

        mutating func takeOutcome() -> (CustodyReply, [AuditRecord])? {
            guard case .done(let reply, let records) = self else { return nil }
            self = .answered
            return (reply, records)
        }

        /// Gives the right to answer without an outcome; not while a worker is at it and may still be patient.
        mutating func claim(evenIfRunning: Bool) -> Bool {
            switch self {
            case .waiting: break
            case .running where evenIfRunning: break
            case .running, .done, .answered: return false
            }
            self = .answered
            return true
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
    private let state = Mutex(State.waiting)

    init(
        _ request: CustodyRequest, _ judgements: [Judgement], _ rulebook: Rulebook, _ custodian: Custodian,
        completion: @escaping @Sendable (CustodyReply) -> Void
    ) {
        self.request = request
        self.judgements = judgements
        self.rulebook = rulebook
        self.custodian = custodian
        self.completion = completion
    }

    var deadline: ContinuousClock.Instant { request.deadline }
    var user: UInt32 { request.principal.uid }
    var weight: Int { request.items.count }

    var isWaiting: Bool {
        state.withLock { state in
            if case .waiting = state { true } else { false }
        }
    }

    func run(_ worker: inout TokenWorker) {
        guard state.withLock({ $0.begin() }) else { return }
        let (reply, records) = custodian.perform(request, judgements, rulebook, &worker)
        state.withLock { $0.finish(reply, records) }
    }

    static func settle(_ batch: [PendingRequest]) {
        var finished: [(PendingRequest, CustodyReply)] = []
        var records: [AuditRecord] = []
        for pending in batch {
            guard let (reply, own) = pending.state.withLock({ $0.takeOutcome() }) else { continue }
            finished.append((pending, reply))
            records += own
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

    private func answer(_ error: CustodyError, evenIfRunning: Bool) {
        guard state.withLock({ $0.claim(evenIfRunning: evenIfRunning) }) else { return }
        // What is wrong with an operation for good stays wrong: the caller must not be told to try it again.
        let errors = judgements.map { $0.refusal ?? error }
        let failure = custodian.write(judgements.indices.map { judgements[$0].record(of: request, $0, unless: error) })
        completion(errors.map { .failure(failure ?? $0) })
    }
}
