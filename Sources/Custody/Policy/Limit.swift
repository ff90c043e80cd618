/// How often something may be done.
public struct Limit: Sendable, Hashable {
    /// Who and what share a count.
    public enum Per: String, Sendable, Hashable, CaseIterable {
        /// Each uid has one of its own.
        case user
        /// Each key has one, for all principals together.
        case key
        case userAndKey = "user-and-key"
        /// There is one for all.
        case everyone

        var countsKeys: Bool { self == .key || self == .userAndKey }
    }

    /// Where it stands, such as `custody.toml:40`.
    public var rule: String
    /// nil is everyone.
    public let subject: Subject?
    /// Without contexts.
    public let conditions: Conditions
    public let perSecond: Double?
    /// What may be done at once after a pause, if there is a rate per second.
    public let burst: Int
    /// By UTC day, since the daemon started.
    public let perDay: Int?
    public let per: Per

    /// - Parameter burst: nil for as many as a second gives, and at least one.
    public init(
        rule: String, subject: Subject? = nil, keys: [Pattern] = [Pattern("*")], operations: Set<Operation.Kind> = .usingKeys,
        perSecond: Double? = nil, burst: Int? = nil, perDay: Int? = nil, per: Per = .user
    ) {
        self.rule = rule
        self.subject = subject
        conditions = Conditions(operations: operations, keys: keys)
        self.perSecond = perSecond
        self.burst = min(max(1, burst ?? Int(max(1, min(perSecond ?? 1, 1e9)))), 1_000_000_000)
        self.perDay = perDay
        self.per = per
    }

    /// - Parameter key: nil if it is not known: then only a limit of all keys is concerned.
    public func concerns(_ principal: Principal, _ kind: Operation.Kind, key: KeyName?) -> Bool {
        subject.includes(principal) && conditions.cover(kind, key: key, context: nil)
    }
}
