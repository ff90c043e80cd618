import SecureMemory

/// What is decided of one operation before anybody touches the HSM.
enum Judgement: Sendable {
    /// Nothing is done: it is malformed, denied, or past a limit.
    case refused(CustodyError, AuditRecord.Outcome, keyName: KeyName?, keyID: KeyID?)
    /// It may use the key.
    ///
    /// - Parameter isCounted: Every limit was asked; if not, those that go by the key have to be when the key is seen.
    case allowed(Operation, Target, keyName: KeyName, rule: String, isCounted: Bool)
    /// The blob names a key that no look has shown yet: the rules are asked when the token was looked at again.
    case keyUnknown(Operation, Target, KeyID)
    /// It needs no key: it tells of the daemon or changes it.
    case withoutKey(Operation, rule: String)

    /// Whether a worker has to deal with it.
    var needsToken: Bool {
        switch self {
        case .allowed, .keyUnknown: true
        case .refused, .withoutKey: false
        }
    }

    /// Whether its answer is not given at once: denied, or past a limit.
    var isHeldBack: Bool {
        switch self {
        case .refused(_, .denied, _, _), .refused(_, .limited, _, _): true
        case .refused, .allowed, .keyUnknown, .withoutKey: false
        }
    }

    /// What is wrong with it for good.
    var refusal: CustodyError? {
        if case .refused(let error, _, _, _) = self { error } else { nil }
    }

    /// A denial says no more than that; the audit log says why.
    static let denied = CustodyError(.denied, "denied")

    static func denied(_ reason: String, keyName: KeyName? = nil, keyID: KeyID? = nil) -> Judgement {
        .refused(denied, .denied(reason: reason), keyName: keyName, keyID: keyID)
    }

    /// Judges an operation by what is known without the token.
    init(_ item: CustodyRequest.Item, of principal: Principal, _ rulebook: Rulebook, _ ring: KeyRing) {
        let operation: Operation
        var target: Target?
        do throws(CustodyError) {
            operation = try item.operation.get()
            if operation.kind.usesKey { target = try Target(operation) }
        } catch {
            self = .refused(error, .failed(rule: nil, error), keyName: nil, keyID: nil)
            return
        }
        // Whom no grant names learns nothing and costs nothing.
        guard rulebook.policy.names(principal) else {
            self = .denied(Policy.unnamed)
            return
        }
        guard let target else {
            switch rulebook.policy.decide(principal, operation.kind, key: nil, context: nil) {
            case .allowed(let rule): self = .withoutKey(operation, rule: rule)
            case .denied(let reason): self = .denied(reason)
            }
            return
        }
        switch target {
        case .key(let name):
            // Limits count for keys that are there only: callers must not make up counts by made-up names.
            self.init(
                operation, target, keyName: name, keyID: nil, of: principal, rulebook, isSeen: ring.contains(name))
        case .version(let id, _):
            // Nothing is looked up for whoever may do this with no key at all.
            guard rulebook.policy.mayEver(principal, operation.kind) else {
                self = .denied(rulebook.policy.objection(to: principal, operation.kind), keyID: id)
                return
            }
            if let version = ring.version(id) {
                self.init(operation, target, keyName: version.name, keyID: id, of: principal, rulebook, isSeen: true)
            } else if let refusal = rulebook.limiter.admit(principal, operation.kind, key: nil) {
                self = .limited(refusal, keyName: nil, keyID: id)
            } else {
                self = .keyUnknown(operation, target, id)
            }
        }
    }

    /// Judges an operation on a key whose name is known.
    ///
    /// - Parameters:
    ///   - isSeen: The token has a key of this name.
    ///   - wasUnknown: The limits were asked before the name was known.
    init(
        _ operation: Operation, _ target: Target, keyName: KeyName, keyID: KeyID?, of principal: Principal, _ rulebook: Rulebook,
        isSeen: Bool, wasUnknown: Bool = false
    ) {
        switch rulebook.policy.decide(principal, operation.kind, key: keyName, context: operation.context) {
        case .denied(let reason): self = .denied(reason, keyName: keyName, keyID: keyID)
        case .allowed(let rule):
            if let refusal = rulebook.limiter.admit(principal, operation.kind, key: isSeen ? keyName : nil, wasUnknown: wasUnknown) {
                self = .limited(refusal, keyName: keyName, keyID: keyID)
            } else {
                self = .allowed(operation, target, keyName: keyName, rule: rule, isCounted: isSeen)
            }
        }
    }

    private static func limited(_ refusal: Limiter.Refusal, keyName: KeyName?, keyID: KeyID?) -> Judgement {
        let error = CustodyError(
            .rateLimited, "a limit of the daemon's configuration is used up; try again later",
            retryAfterMilliseconds: refusal.retryAfterMilliseconds)
        return .refused(error, .limited(rule: refusal.rule, error), keyName: keyName, keyID: keyID)
    }

    /// The record of an operation that is not done: refused, or failed with the error.
    func record(of request: CustodyRequest, _ item: Int, unless error: CustodyError) -> AuditRecord {
        switch self {
        case .refused(_, let outcome, let keyName, let keyID): request.record(item, keyName: keyName, keyID: keyID, outcome)
        case .allowed(_, let target, let keyName, let rule, _):
            request.record(item, keyName: keyName, keyID: target.keyID, .failed(rule: rule, error))
        case .keyUnknown(_, _, let keyID): request.record(item, keyName: nil, keyID: keyID, .failed(rule: nil, error))
        case .withoutKey(_, let rule): request.record(item, keyName: nil, keyID: nil, .failed(rule: rule, error))
        }
    }
}
