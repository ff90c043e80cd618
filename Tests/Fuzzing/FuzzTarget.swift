/// Something of ours that reads what others wrote, with what must hold whatever they wrote.
public protocol FuzzTarget: SendableMetatype {
    /// The name of its corpus, of its dictionary and on the command line.
    static var name: String { get }

    /// Gives it these bytes.
    ///
    /// - Throws: ``Violation`` if something does not hold.
    static func run(_ bytes: [UInt8]) throws
}

/// Something that must always hold does not.
public struct Violation: Error, CustomStringConvertible {
    public let description: String
}

/// Every target there is.
public enum FuzzTargets {
    public static let all: [any FuzzTarget.Type] = [
        FrameTarget.self, RequestTarget.self, EnvelopeTarget.self, ContextTarget.self, ConfigurationTarget.self,
        TokenURITarget.self, AuditLogTarget.self, AuditLineTarget.self, StateTarget.self,
    ]

    public static func named(_ name: String) -> (any FuzzTarget.Type)? { all.first { $0.name == name } }
}

/// Ends the run of a target if the condition does not hold.
func require(_ condition: Bool, _ message: @autoclosure () -> String) throws(Violation) {
    if !condition { throw Violation(description: message()) }
}

extension [UInt8] {
    /// As text, with what is not UTF-8 replaced, as everything that reads text from outside does it.
    var text: String { String(decoding: self, as: UTF8.self) }
}
