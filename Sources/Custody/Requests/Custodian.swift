import Logging
import PKCS11
import SecureMemory
import Synchronization

/// The only way to the key: every request passes policy, limits, the HSM and the audit log here, in this order.
public final class Custodian: Sendable {
    let connection: TokenConnection
    let ledger: UsageLedger
    private let audit: AuditLog
    private let notary: Notary?
    private let keyWatch: KeyWatch
    private let waitingPeriods: WaitingPeriods
    private let pool: TokenPool<PendingRequest>
    private let clerk: Clerk
    private let log: Logger
    private let started = ContinuousClock.now
    private let counts = OutcomeCounts()
    private let metrics: VaultMetrics
    private let rulebook: Mutex<Rulebook>
    /// Reads the configuration anew for whoever may ask for that.
    private let reload = Mutex<(@Sendable () throws(CustodyError) -> ConfigurationReport)?>(nil)
    /// Cuts a user's connections, but for the one of this number.
    private let disconnect = Mutex<(@Sendable (UInt32, UInt64) -> Int)?>(nil)
    /// Tells of the door.
    private let door = Mutex<(@Sendable () -> DoorReport)?>(nil)
    /// Why the latest attempt to load a configuration changed nothing.
    private let reloadFailure = Mutex<String?>(nil)

    /// - Parameters:
    ///   - file: Where the rules stand, for Status.
    ///   - notary: Has the HSM vouch for the log; nil for a log that is only chained.
    ///   - workers: Threads that call the HSM.
    ///   - queueLimit: Requests that may wait for them.
    ///   - usesLimit: Encryptions per key version.
    /// - Throws: ``CustodyError`` with `stateUnavailable` if what is kept in the state directory can't be read.
    public init(
        rules: Rules, file: String, audit: AuditLog, state: StateDirectory, connection: TokenConnection,
        notary: Notary? = nil, workers: Int, queueLimit: Int, usesLimit: UInt64 = 1 << 32, metrics: VaultMetrics = VaultMetrics(), log: Logger
    ) throws(CustodyError) {
        self.audit = audit
        self.connection = connection
        self.notary = notary
        self.metrics = metrics
        self.log = log
        rulebook = Mutex(Rulebook(rules, file: file))
        ledger = try UsageLedger(state, limit: usesLimit, log: log)
        keyWatch = try KeyWatch(state, audit, log: log)
        waitingPeriods = try WaitingPeriods(state, log: log)
        pool = TokenPool(connection, workers: workers, queueLimit: queueLimit)
        clerk = Clerk(limit: queueLimit)
    }

    /// Starts the threads.
    public func start() {
        startClerk()
        startToken()
    }

    func startClerk() { clerk.start { self.serve($0) } }

    func startToken() {
        connection.start { self.sawKeys($0) }
        pool.start()
        notary?.start()
    }

    /// Takes no new requests, finishes what is under way, and finalises the module. Blocks for some four times `patience`
    /// at most: a module that does not return is not waited for.
    ///
    /// - Returns: False if the module could not be finalised, since a call hangs in it: its exit handlers must not run then.
    @discardableResult
    public func stop(drainingFor patience: Duration) -> Bool {
        pool.stop(drainingFor: patience)
        clerk.stop(within: patience)
        // Whatever comes after this is not covered by the last checkpoint.
        audit.noteEventually(AuditEvent("stopped"))
        notary?.stop()
        let isFinalized = connection.close(within: max(patience, .seconds(1)))
        ledger.close()
        waitingPeriods.close()
        return isFinalized
    }

    public var tokenState: TokenState { connection.tokenState }

    /// How many root keys there are, and how many operations were answered since the start.
    public var activity: (keys: Int, operations: UInt64) {
        let counts = counts.values
        return (connection.catalog.ring.keys.count, counts.allowed + counts.denied + counts.failed)
    }

    /// Whether the HSM is called at all, so that a service manager need not restart the daemon.
    public var isAlive: Bool { connection.isAlive }

    // MARK: Rules

    /// Who reads the configuration anew when a request asks for it; its errors go to the caller, who is an administrator.
    public func onReload(_ body: @escaping @Sendable () throws(CustodyError) -> ConfigurationReport) {
        reload.withLock { $0 = body }
    }

    /// Who cuts the connections of a user and of its subordinate uids, all but that of a number, and says how many there were.
    public func onDisconnect(_ body: @escaping @Sendable (_ uid: UInt32, _ except: UInt64) -> Int) {
        disconnect.withLock { $0 = body }
    }

    /// The rules in force.
    public var rules: Rules { rulebook.withLock { $0 }.rules }

    /// Puts other rules in force, for requests that come from now on. Limits that stay the same go on counting.
    public func adopt(_ rules: Rules, file: String, usesLimit: UInt64) -> ConfigurationReport {
        reloadFailure.withLock { $0 = nil }
        ledger.setLimit(usesLimit)
        let now = rulebook.withLock { current in
            current = Rulebook(rules, file: file, continuing: current)
            return current
        }
        return now.report(trouble: nil)
    }

    /// Remembers for Status that a configuration was not loaded.
    public func refuse(configuration reason: String) {
        reloadFailure.withLock { $0 = reason }
    }

    /// Writes an event to the audit log.
    ///
    /// - Throws: ``CustodyError`` with `auditUnavailable`.
    public func note(_ event: AuditEvent) throws(CustodyError) { try audit.note(event) }

    /// Writes it now or, if the log can't be written, with the next line that can be.
    public func noteEventually(_ event: AuditEvent) { audit.noteEventually(event) }

    /// What the rules name and the token does not have; nil if there is nothing, or the token can't be asked.
    ///
    /// - Parameter old: What these rules name already is not new: a key that was destroyed must not keep an urgent denial
    ///   from being loaded.
    public func trouble(with rules: Rules, beyond old: Rules? = nil) -> String? {
        guard connection.tokenState.isServing else { return nil }
        let present = Set(connection.catalog.ring.keys.map(\.name))
        let tolerated = Set((old?.unknownKeys(on: present) ?? []).map(\.key))
        let unknown = rules.unknownKeys(on: present.union(tolerated))
        guard !unknown.isEmpty else { return nil }
        return unknown.map { "\($0.rule) names key '\($0.key)', which is not on the token" }.joined(separator: "; ")
            + "; correct the name, or make the key with `custodyctl key generate`"
    }

    private func sawKeys(_ look: TokenKeeper.Look) {
        keyWatch.compare(look.ring)
        waitingPeriods.see(look.ring)
        ledger.refresh()
        guard look.isFirst, let trouble = trouble(with: rulebook.withLock { $0 }.rules) else { return }
        log.error("the configuration names unknown keys", metadata: ["reason": "\(trouble)"])
    }

    // MARK: Requests

    /// Judges and performs a request.
    ///
    /// - Parameter completion: Called exactly once, on any thread, after the audit records are written.
    public func submit(_ request: CustodyRequest, completion: @escaping @Sendable (CustodyReply) -> Void) {
        let rulebook = rulebook.withLock { $0 }
        let ring = connection.catalog.ring
        let judgements = request.items.map { Judgement($0, of: request.principal, rulebook, ring) }
        do throws(CustodyError) {
            // What the HSM is not needed for must not wait for it, nor fill the queue that the others wait in.
            let needsToken = judgements.contains(where: \.needsToken)
            if needsToken, !judgements.contains(where: { $0.refusal != nil }) {
                try pool.submit(PendingRequest(request, judgements, rulebook, self, completion: completion))
            } else {
                // A batch of both waits as long as its refused operations alone would.
                try clerk.submit(
                    .init(
                        request: request, judgements: judgements, account: rulebook.policy.account(of: request.principal),
                        units: request.lineUnits { !judgements[$0].needsToken },
                        matter: needsToken ? .proceed { self.proceed(request, judgements, rulebook, completion) } : .record,
                        completion: completion),
                    isHeld: judgements.contains(where: \.isHeldBack))
            }
        } catch {
            // No decision took effect, so there is nothing to record; the count shows in Status.
            counts.addFailures(request.items.count)
            completion(request.items.map { _ in .failure(error) })
        }
    }

    /// Takes a request to the HSM that had to wait before.
    private func proceed(
        _ request: CustodyRequest, _ judgements: [Judgement], _ rulebook: Rulebook, _ completion: @escaping @Sendable (CustodyReply) -> Void
    ) {
        do throws(CustodyError) {
            try pool.submit(PendingRequest(request, judgements, rulebook, self, completion: completion))
        } catch {
            counts.addFailures(request.items.count)
            completion(request.items.map { _ in .failure(error) })
        }
    }

    /// On which account a caller's use of the daemon goes: the person's whose uid it is, or one for all whom no grant names, who
    /// may do nothing here. Whoever can be many users, such as root of a user namespace, gains nothing by it.
    public func account(of principal: Principal) -> UInt32 { rulebook.withLock { $0 }.policy.account(of: principal) }

    /// Who tells of the door for Status.
    public func onDoorReport(_ body: @escaping @Sendable () -> DoorReport) { door.withLock { $0 = body } }

    /// Writes records; returns the error that must be answered instead if they can't be written.
    func write(_ records: [AuditRecord]) -> CustodyError? {
        do {
            try audit.append(records)
        } catch {
            counts.addFailures(records.count)
            return error
        }
        let ring = connection.catalog.ring
        for record in records {
            counts.add(record.outcome)
            metrics.operations.count(record, ring)
        }
        return nil
    }

    /// On the clerk's thread.
    private func serve(_ errands: [Clerk.Errand]) {
        var records: [AuditRecord] = []
        let replies = errands.map { errand in
            errand.judgements.indices.map { index in
                let (result, record) = performWithoutToken(errand.request, index, errand.judgements[index])
                records.append(record)
                return result
            }
        }
        guard let failure = write(records) else {
            for (errand, reply) in zip(errands, replies) { errand.completion(reply) }
            return
        }
        for (errand, reply) in zip(errands, replies) {
            errand.completion(reply.map { result in
                // Status tells of no key's content, and it is what tells the operator that the log can't be written.
                if case .success(.status(let report)) = result {
                    .success(.status(statusReport(isDetailed: report.metrics != nil)))
                } else {
                    .failure(failure)
                }
            })
        }
    }

    typealias Outcome = (Result<Answer, CustodyError>, AuditRecord)

    func performWithoutToken(_ request: CustodyRequest, _ index: Int, _ judgement: Judgement) -> Outcome {
        switch judgement {
        case .refused(let error, let outcome, let keyName, let keyID):
            return (.failure(error), request.record(index, keyName: keyName, keyID: keyID, outcome))
        // A report is much longer than what asks for it: never many of them for one frame.
        case .withoutKey(let operation, let rule) where operation.kind == .status && request.items.count == 1:
            var isDetailed = false
            if case .metrics = operation { isDetailed = true }
            return (.success(.status(statusReport(isDetailed: isDetailed))), request.record(index, keyName: nil, keyID: nil, .allowed(rule: rule)))
        case .withoutKey(let operation, let rule):
            let result: Result<Answer, CustodyError>
            do throws(CustodyError) {
                result = .success(try administer(operation, request))
            } catch {
                result = .failure(error)
            }
            switch result {
            case .success: return (result, request.record(index, keyName: nil, keyID: nil, .allowed(rule: rule)))
            case .failure(let error): return (result, request.record(index, keyName: nil, keyID: nil, .failed(rule: rule, error)))
            }
        case .allowed, .keyUnknown:
            let error = CustodyError(.internalError, "an operation on a key came to the wrong place")
            return (.failure(error), judgement.record(of: request, index, unless: error))
        }
    }

    private func administer(_ operation: Operation, _ request: CustodyRequest) throws(CustodyError) -> Answer {
        guard request.items.count == 1 else {
            throw CustodyError(.invalidRequest, "\(operation.kind.rawValue) must be the only operation of its request")
        }
        if case .disconnect(let uid) = operation {
            guard let disconnect = disconnect.withLock({ $0 }) else {
                throw CustodyError(.internalError, "this daemon has no connections to cut")
            }
            // What can't be recorded is not done.
            try note(AuditEvent("disconnect", [("uid", .number(UInt64(uid))), ("by", .number(UInt64(request.principal.uid)))]))
            return .disconnected(connections: disconnect(uid, request.connection))
        }
        guard let reload = reload.withLock({ $0 }) else {
            throw CustodyError(.internalError, "this daemon can't read its configuration anew; restart it")
        }
        return .reloaded(try reload())
    }

    private func statusReport(isDetailed: Bool) -> StatusReport {
        let counts = counts.values
        let rulebook = rulebook.withLock { $0 }
        let trouble = reloadFailure.withLock { $0 } ?? trouble(with: rulebook.rules)
        let ring = connection.catalog.ring
        return StatusReport(
            token: connection.report, keys: ring.keys, strangers: ring.strangersByName, uptime: started.duration(to: .now),
            allowed: counts.allowed, denied: counts.denied, failed: counts.failed, queued: pool.queued,
            queueLimit: pool.queueLimit, isAuditWritable: audit.isWritable, audit: audit.report, limits: rulebook.limiter.reports,
            configuration: rulebook.report(trouble: trouble), usage: ledger.usage, usesLimit: ledger.limit,
            usesCountedSince: ledger.since, door: door.withLock { $0 }?(), sessions: connection.settings.sessions,
            metrics: isDetailed ? metrics.report : nil)
    }
}
