/// A pattern in which `*` stands for any run of bytes; everything else stands for itself.
public struct Pattern: Sendable, Hashable, CustomStringConvertible {
    public let description: String
    private let bytes: [UInt8]
    private static let star = UInt8(ascii: "*")

    public init(_ text: String) {
        description = text
        bytes = Array(text.utf8)
    }

    public func matches(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { text in
            // Linear in practice: on a mismatch only the latest star takes one byte more.
            var (patternIndex, textIndex) = (0, 0)
            var retry: (pattern: Int, text: Int)?
            while textIndex < text.count {
                if patternIndex < bytes.count, bytes[patternIndex] == Self.star {
                    retry = (patternIndex + 1, textIndex)
                    patternIndex += 1
                } else if patternIndex < bytes.count, bytes[patternIndex] == text[textIndex] {
                    patternIndex += 1
                    textIndex += 1
                } else if let (pattern, start) = retry {
                    retry = (pattern, start + 1)
                    (patternIndex, textIndex) = (pattern, start + 1)
                } else {
                    return false
                }
            }
            return bytes[patternIndex...].allSatisfy { $0 == Self.star }
        }
    }
}

/// One permission: who may do what with which keys for which contexts.
public struct Grant: Sendable, Hashable {
    public enum Subject: Sendable, Hashable {
        case user(name: String, uid: UInt32)
        case group(name: String, gid: UInt32)

        func includes(_ principal: Principal) -> Bool {
            switch self {
            case .user(_, let uid): principal.uid == uid
            case .group(_, let gid): principal.gids.contains(gid)
            }
        }
    }

    /// Where it stands, such as `custody.toml:14`, for the audit log.
    public let rule: String
    public let subject: Subject
    public let keys: [Pattern]
    public let operations: Set<Operation.Kind>
    /// For each of these context keys the request must have a value that matches.
    public let context: [String: Pattern]

    public init(
        rule: String, subject: Subject, keys: [Pattern], operations: Set<Operation.Kind>, context: [String: Pattern] = [:]
    ) {
        self.rule = rule
        self.subject = subject
        self.keys = keys
        self.operations = operations
        self.context = context
    }

    func allows(_ kind: Operation.Kind, key: String?, context requested: EncryptionContext?) -> Bool {
        guard operations.contains(kind) else { return false }
        if let key, !keys.contains(where: { $0.matches(key) }) { return false }
        return context.allSatisfy { name, pattern in
            requested?[name].map(pattern.matches) ?? false
        }
    }
}

/// Who may do what. Nothing is allowed by default.
public struct Policy: Sendable {
    public enum Decision: Sendable, Equatable {
        case allowed(rule: String)
        case denied(reason: String)
    }

    static let unnamed = "no grant names this principal"

    public let grants: [Grant]

    public init(grants: [Grant]) { self.grants = grants }

    /// Whether any grant is about the principal.
    func names(_ principal: Principal) -> Bool { grants.contains { $0.subject.includes(principal) } }

    /// - Parameters:
    ///   - key: The root key's name; nil for an operation that concerns none.
    ///   - context: nil for an operation that has none; then a grant with a context pattern does not allow it.
    public func decide(
        _ principal: Principal, _ kind: Operation.Kind, key: String?, context: EncryptionContext?
    ) -> Decision {
        for grant in grants where grant.subject.includes(principal) {
            // Status shows no key's content, so patterns on keys and contexts do not narrow it.
            if kind == .status ? grant.operations.contains(.status) : grant.allows(kind, key: key, context: context) {
                return .allowed(rule: grant.rule)
            }
        }
        return .denied(reason: objection(to: principal))
    }

    /// Why the audit log says that a principal was denied, if no grant allows what it asks for.
    func objection(to principal: Principal) -> String {
        grants.contains { $0.subject.includes(principal) } ? "no grant of this principal covers it" : Self.unnamed
    }

    /// Whether any grant lets the principal do this with some key: if none does, nothing is looked up for it.
    func mayEver(_ principal: Principal, _ kind: Operation.Kind) -> Bool {
        grants.contains { $0.subject.includes(principal) && $0.operations.contains(kind) }
    }
}
