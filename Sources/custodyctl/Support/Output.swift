import Foundation

/// What goes to standard output: one JSON document, or text for people.
enum Output {
    /// The error of a command that was asked for JSON.
    struct ErrorDocument: Encodable {
        struct Body: Encodable {
            let code: String
            let message: String
        }
        let error: Body

        init(_ error: ToolError) { self.error = Body(code: error.code, message: error.message) }
    }

    /// Prints a value as one document; names of properties become snake_case.
    static func json(_ value: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        print(String(decoding: try encoder.encode(value), as: UTF8.self))
    }

    static func complain(_ text: String) {
        FileHandle.standardError.write(Data((text + "\n").utf8))
    }
}
