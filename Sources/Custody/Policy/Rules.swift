/// What the configuration says about who may do what, and how much of it.
public struct Rules: Sendable {
    public var policy: Policy
    public var limits: [Limit]

    public init(policy: Policy, limits: [Limit] = []) {
        self.policy = policy
        self.limits = limits
    }

    /// Keys that rules name in full and that the token does not have, each with the place of its rule: mistakes, most likely,
    /// which only a look at the token can find.
    public func unknownKeys(on names: Set<KeyName>) -> [(key: KeyName, rule: String)] {
        let rules =
            policy.grants.map { ($0.rule, $0.conditions) } + policy.denials.map { ($0.rule, $0.conditions) }
            + limits.map { ($0.rule, $0.conditions) }
        return rules.flatMap { rule, conditions in
            conditions.keys.compactMap { pattern in
                // One that is no name at all names nothing either; the configuration refuses it before.
                guard pattern.isLiteral, let name = try? KeyName(pattern.description), !names.contains(name) else { return nil }
                return (key: name, rule: rule)
            }
        }
    }
}
