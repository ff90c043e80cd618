import ByteEncoding
import Foundation

/// The one way to standard output and standard error: one JSON document, text for people, or what is for programs.
package enum Output {
    /// The error of a command that was asked for JSON.
    struct ErrorDocument: Encodable {
        struct Body: Encodable {
            let code: String
            let message: String
            let state: String?
            let advice: String?
        }
        let error: Body

        init(_ error: ToolError) {
            let message = ([error.message] + error.others).joined(separator: "\n")
            self.error = Body(code: error.code, message: message, state: error.state, advice: error.advice)
        }
    }

    /// Prints a value as one document; names of properties become snake_case.
    package static func json(_ value: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try json(document: Array(try encoder.encode(value)))
    }

    /// Prints a document that is there already. A terminal may show it, so it gets escapes for what could act there.
    package static func json(document: [UInt8]) throws {
        try write(Array((VisibleText.escapedJSON(try String(strictUTF8: document)) + "\n").utf8))
    }

    /// Prints a line for people at once, also into a pipe.
    package static func say(_ text: DisplayText) { say([text]) }

    /// The same of several lines.
    package static func say(_ lines: [DisplayText]) {
        guard !lines.isEmpty else { return }
        // A reader that went away is no reason to leave work undone.
        try? FileHandle.standardOutput.write(contentsOf: Data((lines.map(\.text).joined(separator: "\n") + "\n").utf8))
    }

    /// Prints a line on standard error.
    package static func complain(_ text: DisplayText) {
        try? FileHandle.standardError.write(contentsOf: Data((text.text + "\n").utf8))
    }

    /// Writes bytes that are for programs, such as a payload, as they are.
    package static func write(_ bytes: [UInt8]) throws(ToolError) {
        do {
            try FileHandle.standardOutput.write(contentsOf: Data(bytes))
        } catch {
            throw ToolError("output-failed", "can't write to standard output: \(error.localizedDescription)")
        }
    }
}
