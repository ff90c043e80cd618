import Synchronization

/// Whether somebody still waits for the answers of a connection.
public final class CallerPresence: Sendable {
    private let gone = Atomic(false)

    public init() {}

    public var isGone: Bool { gone.load(ordering: .relaxed) }

    /// Says that nobody waits any more.
    public func leave() { gone.store(true, ordering: .relaxed) }
}

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
    public let caller: CallerPresence
    public let items: [Item]
    public let onBehalfOf: EncryptionContext
    /// Identify the request in the audit log: the server's number for the connection, the client's for the request.
    public let connection: UInt64
    public let request: UInt32
    public let arrival: ContinuousClock.Instant
    public let deadline: ContinuousClock.Instant

    public init(
        principal: Principal, caller: CallerPresence, items: [Item], onBehalfOf: EncryptionContext, connection: UInt64, request: UInt32,
        arrival: ContinuousClock.Instant, deadline: ContinuousClock.Instant
    ) {
        self.principal = principal
        self.caller = caller
        self.items = items
        self.onBehalfOf = onBehalfOf
        self.connection = connection
        self.request = request
        self.arrival = arrival
        self.deadline = deadline
    }

    func record(_ item: Int, keyName: KeyName?, keyID: KeyID?, _ outcome: AuditRecord.Outcome, _ answer: Answer? = nil) -> AuditRecord {
        let operation = try? items[item].operation.get()
        let (given, made) = (operation?.digest, answer?.digest)
        return AuditRecord(
            operation: items[item].kind, keyName: keyName, keyID: keyID, principal: principal, connection: connection,
            request: request, item: item, context: operation?.context, onBehalfOf: onBehalfOf, blobDigest: given ?? made,
            newBlobDigest: given == nil ? nil : made, outcome: outcome,
            latencyMicroseconds: Int(arrival.duration(to: .now) / .microseconds(1)))
    }
}

/// One answer per operation, in the order of the request.
public typealias CustodyReply = [Result<Answer, CustodyError>]
