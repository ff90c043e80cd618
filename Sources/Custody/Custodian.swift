import Logging
import PKCS11
import SecureMemory
import Synchronization

/// The only way to the key: every request passes policy, the HSM and the audit log here, in this order.
public final class Custodian: Sendable {
    private let policy: Policy
    private let audit: AuditLog
    private let connection: TokenConnection
    private let notary: Notary?
    private let pool: TokenPool<PendingRequest>
    private let started = ContinuousClock.now
    private let counts = OutcomeCounts()

    public init(
        policy: Policy, audit: AuditLog, connection: TokenConnection, notary: Notary? = nil, workers: Int, queueLimit: Int
    ) {
        self.policy = policy
        self.audit = audit
        self.connection = connection
        self.notary = notary
        pool = TokenPool(connection, workers: workers, queueLimit: queueLimit)
    }

    /// Starts the threads.
    public func start() {
        connection.start()
        pool.start()
        notary?.start()
    }

    /// Takes no new requests, finishes what is under way, and finalises the module. Blocks for `patience` at most, and for
    /// as long as the module takes to let go.
    public func stop(drainingFor patience: Duration) {
        pool.stop(drainingFor: patience)
        notary?.stop()
        connection.close()
    }

    public var tokenState: TokenState { connection.tokenState }

    /// Judges and performs a request.
    ///
    /// - Parameter completion: Called exactly once, on any thread, after the audit records are written.
    public func submit(_ request: CustodyRequest, completion: @escaping @Sendable (CustodyReply) -> Void) {
        // Status needs no HSM and must be seen when the HSM hangs.
        if request.items.allSatisfy({ $0.kind == .status }) {
            return completion(answerNow(request) { performStatus(request, $0) })
        }
        // Whom no grant names must not fill the queue that the others wait in.
        guard policy.names(request.principal) else {
            return completion(answerNow(request) { turnAway(request, $0) })
        }
        do {
            try pool.submit(PendingRequest(request, self, completion: completion))
        } catch {
            // No decision was made, so there is nothing to record; the count shows in Status.
            counts.add(.failed, request.items.count)
            completion(request.items.map { _ in .failure(error) })
        }
    }

    /// Writes records; returns the error that must be answered instead if they can't be written.
    func write(_ records: [AuditRecord]) -> CustodyError? {
        do {
            try audit.append(records)
        } catch {
            counts.add(.failed, records.count)
            return error
        }
        for record in records { counts.add(record.outcome) }
        return nil
    }

    // MARK: Without the HSM

    private typealias Judgement = (Result<Answer, CustodyError>, AuditRecord)

    private func answerNow(_ request: CustodyRequest, _ judge: (Int) -> Judgement) -> CustodyReply {
        let judgements = request.items.indices.map(judge)
        let failure = write(judgements.map(\.1))
        return judgements.map { result, _ in failure.map { .failure($0) } ?? result }
    }

    private func performStatus(_ request: CustodyRequest, _ index: Int) -> Judgement {
        switch policy.decide(request.principal, .status, key: nil, context: nil) {
        case .allowed(let rule): (.success(.status(statusReport())), request.record(index, .allowed(rule: rule)))
        case .denied(let reason): (.failure(Self.denied), request.record(index, .denied(reason: reason)))
        }
    }

    private func turnAway(_ request: CustodyRequest, _ index: Int) -> Judgement {
        if let error = request.items[index].formError {
            (.failure(error), request.record(index, .failed(rule: nil, error)))
        } else {
            (.failure(Self.denied), request.record(index, .denied(reason: Policy.unnamed)))
        }
    }

    // MARK: On a worker's thread

    func perform(_ request: CustodyRequest, _ worker: inout TokenWorker) -> (CustodyReply, [AuditRecord]) {
        var reply: CustodyReply = []
        var records: [AuditRecord] = []
        reply.reserveCapacity(request.items.count)
        records.reserveCapacity(request.items.count)
        for index in request.items.indices {
            // What nobody waits for is not done; there is no decision to record.
            guard !request.caller.isGone else {
                reply.append(.failure(CustodyError(.internalError, "the caller has gone")))
                continue
            }
            let (result, record) = perform(request, index, &worker)
            reply.append(result)
            records.append(record)
        }
        return (reply, records)
    }

    /// A denial says no more than that; the audit log says why.
    private static let denied = CustodyError(.denied, "denied")

    private func perform(
        _ request: CustodyRequest, _ index: Int, _ worker: inout TokenWorker
    ) -> Judgement {
        let item = request.items[index]
        var keyName: String?
        var keyID: KeyID?
        var rule: String?
        do throws(CustodyError) {
            let operation = try item.operation.get()
            if case .status = operation { return performStatus(request, index) }
            let target = try Target(operation)
            if case .version(let id, _) = target { keyID = id }
            guard request.deadline > .now else { throw PendingRequest.late }
            keyName = try name(target, operation.kind, request, &worker)
            switch policy.decide(request.principal, operation.kind, key: keyName, context: operation.context) {
            case .denied(let reason):
                return (.failure(Self.denied), request.record(index, keyName: keyName, keyID: keyID, .denied(reason: reason)))
            case .allowed(let allowing):
                rule = allowing
            }
            let (answer, key) = try execute(operation, target, &worker)
            return (.success(answer), request.record(index, key: key, .allowed(rule: rule ?? "")))
        } catch {
            if error.code == .denied {
                return (.failure(Self.denied), request.record(index, keyName: keyName, keyID: keyID, .denied(reason: error.cause ?? "")))
            }
            return (.failure(error), request.record(index, keyName: keyName, keyID: keyID, .failed(rule: rule, error)))
        }
    }

    /// The name of the root key that the operation is about, for the policy.
    private func name(
        _ target: Target, _ kind: Operation.Kind, _ request: CustodyRequest, _ worker: inout TokenWorker
    ) throws(CustodyError) -> String {
        switch target {
        case .key(let name): return name
        case .version(let id, _):
            // Nothing is looked up for whoever may do this with no key at all.
            guard policy.mayEver(request.principal, kind) else {
                throw CustodyError(.denied, "denied", cause: policy.objection(to: request.principal))
            }
            if let version = connection.catalog.ring.version(id) { return version.name }
            try worker.lookAgain()
            // Its name only: whether it may be used is not for callers to learn that the policy then denies.
            if let version = connection.catalog.ring.version(id) { return version.name }
            return try connection.catalog.ring.unwrappingVersion(id).name
        }
    }
}

/// Operations since the start, by outcome.
private final class OutcomeCounts: Sendable {
    enum Outcome { case allowed, denied, failed }

    private let allowed = Atomic<UInt64>(0)
    private let denied = Atomic<UInt64>(0)
    private let failed = Atomic<UInt64>(0)

    func add(_ outcome: Outcome, _ count: Int) {
        let count = UInt64(count)
        switch outcome {
        case .allowed: allowed.add(count, ordering: .relaxed)
        case .denied: denied.add(count, ordering: .relaxed)
        case .failed: failed.add(count, ordering: .relaxed)
        }
    }

    func add(_ outcome: AuditRecord.Outcome) {
        switch outcome {
        case .allowed: add(.allowed, 1)
        case .denied: add(.denied, 1)
        case .limited: add(.denied, 1)
        case .failed: add(.failed, 1)
        }
    }

    var values: (allowed: UInt64, denied: UInt64, failed: UInt64) {
        (allowed.load(ordering: .relaxed), denied.load(ordering: .relaxed), failed.load(ordering: .relaxed))
    }
}

extension Custodian {
    private func statusReport() -> StatusReport {
        let counts = counts.values
        return StatusReport(
            token: connection.tokenState, keys: connection.catalog.ring.keys, uptime: started.duration(to: .now),
            allowed: counts.allowed, denied: counts.denied, failed: counts.failed, queued: pool.queued,
            queueLimit: pool.queueLimit, isAuditWritable: audit.isWritable,
            audit: audit.report,
            limits: [],
            configuration: ConfigurationReport(file: "", loadedMilliseconds: 0, grants: 0, denials: 0, limits: 0, trouble: nil),
            usage: [:], usesLimit: 1 << 32)
    }

    private func execute(
        _ operation: Operation, _ target: Target, _ worker: inout TokenWorker
    ) throws(CustodyError) -> (Answer, KeyReference) {
        let catalog = connection.catalog
        switch (operation, target) {
        case (.wrap(let name, let plaintext, let context), _):
            return try worker.onKey(catalog, { ring throws(CustodyError) in try ring.wrappingVersion(of: name) }) {
                (worker, key) throws(TokenWorker.Failure) in
                (.wrapped(blob: try worker.seal(plaintext, key, context), KeyReference(key)), KeyReference(key))
            }
        case (.generateDataKey(let name, let length, let withPlaintext, let context), _):
            return try worker.onKey(catalog, { ring throws(CustodyError) in try ring.wrappingVersion(of: name) }) {
                (worker, key) throws(TokenWorker.Failure) in
                let random = try worker.run { (session) throws(PKCS11Error) in try session.random(count: length) }
                defer { random.zeroize() }
                let dataKey = SecretBytes(random)
                let blob = try worker.seal(dataKey, key, context)
                return (.dataKey(blob: blob, plaintext: withPlaintext ? dataKey : nil, KeyReference(key)), KeyReference(key))
            }
        case (.encrypt(let name, let plaintext, let aad), _):
            return try worker.onKey(catalog, { ring throws(CustodyError) in try ring.wrappingVersion(of: name) }) {
                (worker, key) throws(TokenWorker.Failure) in
                let nonce = Array(worker.nextNonce())
                var sealed = try worker.encrypt(plaintext, key, nonce: nonce[...], aad: aad, prefix: [])
                let tag = Array(sealed.suffix(Envelope.tagLength))
                sealed.removeLast(Envelope.tagLength)
                return (.encrypted(nonce: nonce, ciphertext: sealed, tag: tag, KeyReference(key)), KeyReference(key))
            }
        case (.unwrap(_, let context), .version(let id, .envelope(let envelope))):
            return try worker.onKey(catalog, { ring throws(CustodyError) in try ring.unwrappingVersion(id) }) {
                (worker, key) throws(TokenWorker.Failure) in
                (.unwrapped(try worker.open(envelope, key, context), KeyReference(key)), KeyReference(key))
            }
        case (.rewrap(_, let context), .version(let id, .envelope(let envelope))):
            let (content, name) = try worker.onKey(catalog, { ring throws(CustodyError) in try ring.unwrappingVersion(id) }) {
                (worker, key) throws(TokenWorker.Failure) in (try worker.open(envelope, key, context), key.name)
            }
            return try worker.onKey(catalog, { ring throws(CustodyError) in try ring.wrappingVersion(of: name) }) {
                (worker, key) throws(TokenWorker.Failure) in
                (.wrapped(blob: try worker.seal(content, key, context), KeyReference(key)), KeyReference(key))
            }
        case (.decrypt(let raw), .version(let id, _)):
            return try worker.onKey(catalog, { ring throws(CustodyError) in try ring.unwrappingVersion(id) }) {
                (worker, key) throws(TokenWorker.Failure) in
                let plaintext = try worker.decrypt(key, nonce: raw.nonce[...], aad: raw.aad, ciphertext: (raw.ciphertext + raw.tag)[...])
                return (.decrypted(plaintext, KeyReference(key)), KeyReference(key))
            }
        case (.unwrap, _), (.rewrap, _), (.decrypt, _), (.status, _), (.reload, _):
            throw CustodyError(.internalError, "the operation and its target do not fit together")
        }
    }
}
