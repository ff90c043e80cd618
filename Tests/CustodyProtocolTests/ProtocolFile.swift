import Foundation

/// custody.proto as it is written, read by itself and not by what was generated from it.
enum ProtocolFile {
    struct Field {
        let type: String
        let name: String
        let number: Int
    }

    /// The fields of each message, also those that are in a `oneof`.
    static func messages() throws -> [String: [Field]] {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../Sources/CustodyProtocol/custody.proto")
        var messages: [String: [Field]] = [:]
        var current = ""
        for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
            if let match = line.prefixMatch(of: /message (\w+) \{/) {
                current = String(match.1)
                messages[current] = []
            } else if let match = line.prefixMatch(of: /\s+(?:repeated )?(\w+) (\w+) = (\d+)/), let number = Int(match.3) {
                messages[current]?.append(Field(type: String(match.1), name: String(match.2), number: number))
            }
        }
        return messages
    }
}
