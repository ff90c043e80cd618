/// One permission: who may do what with which keys for which contexts.
public struct Grant: Sendable, Hashable {
    /// Where it stands, such as `custody.toml:14`, for the audit log.
    public let rule: String
    public let subject: Subject
    /// The systemd unit, or a slice above it, that the subject's process must be in; nil if any will do.
    public let unit: String?
    /// Whether a group's members may use it by subordinate uids.
    public let includesSubordinates: Bool
    public let conditions: Conditions

    /// - Parameter context: Does not narrow ``Operation/Kind/status`` and ``Operation/Kind/reload``, nor do the keys; keeps out
    ///   the operations of the raw form, which have no context.
    public init(
        rule: String, subject: Subject, unit: String? = nil, includesSubordinates: Bool = false, keys: [Pattern],
        operations: Set<Operation.Kind>, context: [String: Pattern] = [:]
    ) {
        self.rule = rule
        self.subject = subject
        self.unit = unit
        self.includesSubordinates = includesSubordinates
        conditions = Conditions(operations: operations, keys: keys, context: context)
    }

    /// Whether it is about the principal. A unit that is not known is not the one that it names.
    public func includes(_ principal: Principal) -> Bool {
        guard isAbout(principal) else { return false }
        return unit.map { principal.unit?.isWithin($0) ?? false } ?? true
    }

    /// Whether it is about the principal, if that connects from the right unit.
    public func isAbout(_ principal: Principal) -> Bool {
        guard subject.surelyIncludes(principal) else { return false }
        // A user namespace makes any number of uids with the owner's group.
        if case .group = subject, principal.subordination != nil { return includesSubordinates }
        return true
    }
}

/// One prohibition, which no grant outweighs.
public struct Denial: Sendable, Hashable {
    /// Where it stands, such as `custody.toml:31`, for the audit log.
    public let rule: String
    /// nil is everyone.
    public let subject: Subject?
    /// Its operations are those that it can concern.
    public let conditions: Conditions

    /// - Parameters:
    ///   - keys: If they are not all, the denial does not concern ``Operation/Kind/status`` and ``Operation/Kind/reload``.
    ///   - context: If there is one, the denial concerns only operations that have a context.
    public init(
        rule: String, subject: Subject?, keys: [Pattern] = [Pattern("*")], operations: Set<Operation.Kind> = .all,
        context: [String: Pattern] = [:]
    ) {
        self.rule = rule
        self.subject = subject
        let isNarrow = Conditions(operations: operations, keys: keys, context: context).areNarrow
        conditions = Conditions(
            operations: operations.filter { (!isNarrow || $0.usesKey) && (context.isEmpty || $0.hasContext) }, keys: keys,
            context: context)
    }
}
