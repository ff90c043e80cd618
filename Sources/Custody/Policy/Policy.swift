/// Who may do what. Nothing is allowed by default, and a denial wins over every grant.
public struct Policy: Sendable {
    public enum Decision: Sendable, Equatable {
        case allowed(rule: String)
        /// Why, for the audit log; the caller learns no more than that it is denied.
        case denied(reason: String)
    }

    static let unnamed = "no grant names this principal"

    public let grants: [Grant]
    public let denials: [Denial]

    public init(grants: [Grant], denials: [Denial] = []) {
        self.grants = grants
        self.denials = denials
    }

    /// - Parameters:
    ///   - key: The root key's name; nil for an operation that concerns none.
    ///   - context: nil for an operation that has none; then a grant with a context pattern does not allow it.
    public func decide(
        _ principal: Principal, _ kind: Operation.Kind, key: KeyName?, context: EncryptionContext?
    ) -> Decision {
        // Denials can't be looked up for a key that nobody named.
        guard key != nil || !kind.usesKey else { return .denied(reason: "it names no key") }
        if let denial = denial(principal, kind, key: key, context: context) { return .denied(reason: Self.denied(by: denial)) }
        for grant in grants where grant.subject.includes(principal) && grant.conditions.cover(kind, key: key, context: context) {
            return .allowed(rule: grant.rule)
        }
        return .denied(reason: objection(to: principal))
    }

    /// The first denial that forbids it.
    public func denial(
        _ principal: Principal, _ kind: Operation.Kind, key: KeyName?, context: EncryptionContext?
    ) -> Denial? {
        denials.first { $0.subject.includes(principal) && $0.conditions.cover(kind, key: key, context: context) }
    }

    // MARK: Before the key is known

    /// Whether any grant is about the principal.
    func names(_ principal: Principal) -> Bool { grants.contains { $0.subject.includes(principal) } }

    /// Whether the principal may do this with some key in some context: if not, nothing is looked up for it.
    func mayEver(_ principal: Principal, _ kind: Operation.Kind) -> Bool {
        grants.contains { $0.subject.includes(principal) && $0.conditions.operations.contains(kind) }
            && denialOfAll(principal, kind) == nil
    }

    /// Why the audit log says that a principal was denied, if no grant allows what it asks for.
    ///
    /// - Parameter kind: What it ``mayEver(_:_:)`` do with no key, because of a denial as well.
    func objection(to principal: Principal, _ kind: Operation.Kind? = nil) -> String {
        if let kind, let denial = denialOfAll(principal, kind) { return Self.denied(by: denial) }
        return names(principal) ? "no grant of this principal covers it" : Self.unnamed
    }

    /// A denial that holds for every key and context.
    private func denialOfAll(_ principal: Principal, _ kind: Operation.Kind) -> Denial? {
        denials.first { !$0.conditions.areNarrow && $0.subject.includes(principal) && $0.conditions.operations.contains(kind) }
    }

    private static func denied(by denial: Denial) -> String { "denied by \(denial.rule)" }
}
