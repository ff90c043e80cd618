import ByteEncoding

/// What a command says to a person. What stands in the program's text is printed as it is, line feeds included; every value that
/// is put into it is escaped (``VisibleText``), so that no name makes a line of its own or acts on the terminal.
///
/// A `String` is none: it has to be put into one by interpolation.
package struct DisplayText: ExpressibleByStringInterpolation, Sendable {
    package struct StringInterpolation: StringInterpolationProtocol {
        fileprivate var text = ""

        package init(literalCapacity: Int, interpolationCount: Int) { text.reserveCapacity(literalCapacity * 2) }

        package mutating func appendLiteral(_ literal: String) { text += literal }

        package mutating func appendInterpolation(_ value: some CustomStringConvertible) {
            text += VisibleText.escaped(value.description)
        }

        /// One of several values in a line.
        package mutating func appendInterpolation(quoted value: String) { text += VisibleText.quotedIfNeeded(value) }

        /// What is made of such text already.
        package mutating func appendInterpolation(layout part: DisplayText) { text += part.text }
    }

    /// To be printed as it is.
    let text: String

    package init(stringLiteral text: String) { self.text = text }

    package init(stringInterpolation: StringInterpolation) { text = stringInterpolation.text }

    /// Only for what puts cells and lines together.
    init(escaped text: String) { self.text = text }

    package static func + (left: DisplayText, right: DisplayText) -> DisplayText { DisplayText(escaped: left.text + right.text) }
}

extension Sequence<DisplayText> {
    package func joined(separator: DisplayText = "") -> DisplayText {
        DisplayText(escaped: map(\.text).joined(separator: separator.text))
    }
}
