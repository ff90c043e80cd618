/// Everything that is wrong with a configuration file.
public struct ConfigurationError: Error, Sendable, CustomStringConvertible {
    public struct Problem: Sendable, CustomStringConvertible {
        public let file: String
        public let line: Int?
        /// What is wrong and what is expected.
        public let message: String
        /// Of the value, such as `token.uri`; empty for the file as a whole.
        var path = ""

        /// Whether it is within this part of the file, or around it.
        func touches(_ part: String) -> Bool {
            path.isEmpty || path == part || path.hasPrefix("\(part).") || part.hasPrefix("\(path).")
        }

        public var description: String {
            line.map { "\(file):\($0): \(message)" } ?? "\(file): \(message)"
        }
    }

    public let problems: [Problem]

    public var description: String { problems.map(\.description).joined(separator: "\n") }
}
