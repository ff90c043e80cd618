import Foundation

/// What goes to standard output: one JSON document, or text for people.
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
            self.error = Body(code: error.code, message: error.message, state: error.state, advice: error.advice)
        }
    }

    /// Prints a value as one document; names of properties become snake_case.
    package static func json(_ value: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        print(String(decoding: try encoder.encode(value), as: UTF8.self))
    }

    /// Prints a line for people at once, also into a pipe.
    package static func say(_ text: String) {
        print(Table.printable(text))
        fflush(nil)
    }

    package static func complain(_ text: String) {
        try? FileHandle.standardError.write(contentsOf: Data((text + "\n").utf8))
    }
}
