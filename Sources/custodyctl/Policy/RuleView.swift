import Custody

/// A grant, denial or limit as the tool shows it.
struct RuleView: Encodable {
    enum Effect: String, Encodable { case allow, deny, limit }

    struct Who: Encodable {
        /// `user`, `group` or `everyone`.
        let kind: String
        let name: String?
        let id: UInt32?
    }

    let effect: Effect
    let subject: Who
    /// Empty for rules about operations that use no key.
    let keys: [String]
    let operations: [String]
    let context: [String: String]
    /// The systemd unit that a grant asks for.
    let unit: String?
    /// Whether a grant of a group includes subordinate uids.
    let subordinate: Bool?
    let perSecond: Double?
    let burst: Int?
    let perDay: Int?
    let per: String?
    let rule: String

    init(_ grant: Grant) { self.init(.allow, grant.rule, grant.subject, grant.conditions, nil, grant) }
    init(_ denial: Denial) { self.init(.deny, denial.rule, denial.subject, denial.conditions, nil) }
    init(_ limit: Limit) { self.init(.limit, limit.rule, limit.subject, limit.conditions, limit) }

    private init(_ effect: Effect, _ rule: String, _ subject: Subject?, _ conditions: Conditions, _ limit: Limit?, _ grant: Grant? = nil) {
        self.effect = effect
        self.rule = rule
        self.subject =
            switch subject {
            case .user(let name, let uid): Who(kind: "user", name: name, id: uid)
            case .group(let name, let gid): Who(kind: "group", name: name, id: gid)
            case nil: Who(kind: "everyone", name: nil, id: nil)
            }
        keys = conditions.operations.contains(where: \.usesKey) ? conditions.keys.map(\.description) : []
        operations = Custody.Operation.Kind.allCases.filter(conditions.operations.contains).map(\.rawValue)
        context = conditions.context.mapValues(\.description)
        unit = grant?.unit
        subordinate = grant?.includesSubordinates == true ? true : nil
        perSecond = limit?.perSecond
        burst = limit?.perSecond == nil ? nil : limit?.burst
        perDay = limit?.perDay
        per = limit?.per.rawValue
    }

    // MARK: For people

    var who: String {
        guard let name = subject.name, let id = subject.id else { return subject.kind }
        let text = name == "\(id)" ? "\(subject.kind) \(id)" : "\(subject.kind) \(name) (\(id))"
        return text + (subordinate == true ? " with subordinate uids" : "") + (unit.map { " in \($0)" } ?? "")
    }

    var keysText: String { keys.isEmpty ? "-" : keys.joined(separator: ", ") }

    var operationsText: String {
        operations.count == Custody.Operation.Kind.allCases.count ? "all" : operations.joined(separator: ", ")
    }

    var contextText: String {
        context.isEmpty ? "-" : context.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ", ")
    }

    /// Such as `limit 5/s, burst 10, 1000/day per user`.
    var effectText: String {
        guard effect == .limit else { return effect.rawValue }
        let rates = [
            perSecond.map { "\(Int(exactly: $0).map(String.init) ?? "\($0)")/s" }, burst.map { "burst \($0)" },
            perDay.map { "\($0)/day" },
        ]
        let share =
            switch per {
            case Limit.Per.everyone.rawValue: "for all together"
            case Limit.Per.userAndKey.rawValue: "per user and key"
            default: "per \(per ?? "")"
            }
        return "limit \(rates.compactMap { $0 }.joined(separator: ", ")) \(share)"
    }
}
