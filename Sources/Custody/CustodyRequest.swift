import Synchronization

/// What arrived from one caller in one frame.
public struct CustodyRequest: Sendable {
    /// One operation of a batch; one that could not even be understood carries the reason, so that it is answered and
    /// recorded like the others.
    public struct Item: Sendable {
        public let kind: Operation.Kind?
        public let operation: Result<Operation, CustodyError>

        public init(kind: Operation.Kind?, operation: Result<Operation, CustodyError>) {
            self.kind = kind
            self.operation = operation
        }
    }

    public let principal: Principal
    public let items: [Item]
    public let onBehalfOf: EncryptionContext
    /// Identify the request in the audit log: the server's number for the connection, the client's for the request.
    public let connection: UInt64
    public let request: UInt32
    public let arrival: ContinuousClock.Instant
    public let deadline: ContinuousClock.Instant

    public init(
        principal: Principal, items: [Item], onBehalfOf: EncryptionContext, connection: UInt64, request: UInt32,
        arrival: ContinuousClock.Instant, deadline: ContinuousClock.Instant
    ) {
        self.principal = principal
        self.items = items
        self.onBehalfOf = onBehalfOf
        self.connection = connection
        self.request = request
        self.arrival = arrival
        self.deadline = deadline
    }

    func record(
        _ item: Int, key: KeyReference? = nil, keyName: String? = nil, _ outcome: AuditRecord.Outcome
    ) -> AuditRecord {
        let operation = try? items[item].operation.get()
        return AuditRecord(
            operation: items[item].kind, keyName: key?.name ?? keyName, keyID: key?.id, principal: principal,
            connection: connection, request: request, item: item, context: operation?.context, onBehalfOf: onBehalfOf,
            outcome: outcome, latencyMicroseconds: Int(arrival.duration(to: .now) / .microseconds(1)))
    }
}

/// One answer per operation, in the order of the request.
public typealias CustodyReply = [Result<Answer, CustodyError>]

/// A request on its way through the pool. It is answered exactly once, by whoever comes first: the worker that did it, the
/// clock when its deadline passes, or the shutdown.
final class PendingRequest: TokenWork {
    private enum State {
        case waiting
        case done(CustodyReply, [AuditRecord])
        case answered

        /// Gives the right to answer to the first who asks.
        mutating func claim() -> Bool {
            if case .answered = self { return false }
            self = .answered
            return true
        }

        mutating func takeOutcome() -> (CustodyReply, [AuditRecord])? {
            guard case .done(let reply, let records) = self else { return nil }
            self = .answered
            return (reply, records)
        }
    }

    private let request: CustodyRequest
    private let custodian: Custodian
    private let completion: @Sendable (CustodyReply) -> Void
    private let state = Mutex(State.waiting)

    init(_ request: CustodyRequest, _ custodian: Custodian, completion: @escaping @Sendable (CustodyReply) -> Void) {
        self.request = request
        self.custodian = custodian
        self.completion = completion
    }

    var deadline: ContinuousClock.Instant { request.deadline }
    var weight: Int { request.items.count }

    func run(_ worker: inout TokenWorker) {
        guard state.withLock({ if case .waiting = $0 { true } else { false } }) else { return }
        guard deadline > .now else { return expire() }
        let (reply, records) = custodian.perform(request, &worker)
        state.withLock { if case .waiting = $0 { $0 = .done(reply, records) } }
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
        answer(CustodyError(
            .deadlineExceeded, "the HSM did not answer in time; the operation may have been done all the same",
            retryAfterMilliseconds: 100))
    }

    func abandon() {
        answer(CustodyError(.shuttingDown, "the daemon is shutting down", retryAfterMilliseconds: 500))
    }

    private func answer(_ error: CustodyError) {
        guard state.withLock({ $0.claim() }) else { return }
        let records = request.items.indices.map { request.record($0, .failed(rule: nil, error)) }
        let failure = custodian.write(records) ?? error
        completion(request.items.map { _ in .failure(failure) })
    }
}
