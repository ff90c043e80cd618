/// A line of the audit log that tells of something else than a decision: that the log goes on after a rotation, a
/// checkpoint, a changed key, a new configuration.
public struct AuditEvent: Sendable {
    public enum Value: Sendable, Hashable {
        case text(String)
        case number(UInt64)
    }

    /// Such as `log-begins`.
    public let name: String
    /// In the order in which they are written.
    public let fields: [(name: String, value: Value)]

    public init(_ name: String, _ fields: [(String, Value)] = []) {
        self.name = name
        self.fields = fields.map { (name: $0.0, value: $0.1) }
    }
}
