/// What a rule is about, whomever it concerns: operations, keys and contexts.
public struct Conditions: Sendable, Hashable {
    public let operations: Set<Operation.Kind>
    public let keys: [Pattern]
    /// For each of these context keys the request must have a value that matches.
    public let context: [String: Pattern]

    init(operations: Set<Operation.Kind>, keys: [Pattern], context: [String: Pattern] = [:]) {
        self.operations = operations
        self.keys = keys
        self.context = context
    }

    /// Whether they leave anything out besides operations.
    public var areNarrow: Bool { !context.isEmpty || !keys.contains(where: \.matchesEverything) }

    /// - Parameters:
    ///   - key: nil if it is not known; then only `*` covers it.
    ///   - requested: nil for an operation that has none; then a context pattern does not cover it.
    func cover(_ kind: Operation.Kind, key: KeyName?, context requested: EncryptionContext?) -> Bool {
        guard operations.contains(kind) else { return false }
        // What uses no key is not narrowed by keys and contexts.
        guard kind.usesKey else { return true }
        return coverKey(key)
            && context.allSatisfy { name, pattern in
                requested?[name].map(pattern.matches) ?? false
            }
    }

    private func coverKey(_ key: KeyName?) -> Bool {
        guard let key else { return keys.contains(where: \.matchesEverything) }
        return keys.contains { $0.matches(key.description) }
    }
}

extension Set<Operation.Kind> {
    /// Every operation.
    public static let all = Set(Operation.Kind.allCases)
    /// Every operation that uses a root key.
    public static let usingKeys = all.filter(\.usesKey)
}
