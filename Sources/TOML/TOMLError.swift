/// Why something is no document, or none of the subset that is read.
public struct TOMLError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Counted from 1.
    public let line: Int
    /// In Unicode scalars, counted from 1.
    public let column: Int
    /// What is wrong and what to write instead. It quotes the beginnings of keys, never of values, which may be secrets.
    public let message: String

    public var description: String { "line \(line), column \(column): \(message)" }

    /// A key, fit for a message.
    static func quote(_ text: some StringProtocol) -> String {
        let most = 40
        var quoted = "'"
        for (index, scalar) in text.unicodeScalars.enumerated() {
            guard index < most else { return quoted + "...'" }
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned:
                quoted += "\\u{\(String(scalar.value, radix: 16))}"
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "'"
    }
}
