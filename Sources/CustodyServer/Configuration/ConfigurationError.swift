/// Everything that is wrong with a configuration file.
public struct ConfigurationError: Error, Sendable, CustomStringConvertible {
    public struct Problem: Sendable, CustomStringConvertible {
        public let file: String
        public let line: Int?
        /// Counted from 1; nil for what is TOML but no configuration.
        public let column: Int?
        /// What is wrong and what is expected.
        public let message: String
        /// Of the value, such as `token.uri`; empty for the file as a whole.
        let path: String

        /// - Parameter message: Shortened in its middle where it quotes much of the file, and without control characters.
        init(file: String, line: Int?, column: Int? = nil, message: String, path: String = "") {
            self.file = file
            self.line = line
            self.column = column
            self.message = Self.printable(message)
            self.path = path
        }

        /// Whether it is within this part of the file, or around it.
        func touches(_ part: String) -> Bool {
            path.isEmpty || path == part || path.hasPrefix("\(part).") || part.hasPrefix("\(path).")
        }

        public var description: String {
            let place = line.map { "\(file):\($0)" } ?? file
            return "\(place): \(column.map { "column \($0): " } ?? "")\(message)"
        }

        /// One line of a bounded length. A message says at its end what is expected, so the end stays.
        private static func printable(_ message: String) -> String {
            let (beginning, end) = (400, 800)
            let scalars = message.unicodeScalars
            let isLong = scalars.count > beginning + end
            let short = isLong ? String(scalars.prefix(beginning)) + " ... " + String(scalars.suffix(end)) : message
            guard short.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else { return short }
            return short.unicodeScalars.reduce(into: "") { text, scalar in
                let isControl = scalar.properties.generalCategory == .control
                text += isControl ? "\\u{\(String(scalar.value, radix: 16))}" : String(scalar)
            }
        }
    }

    public let problems: [Problem]

    public var description: String { problems.map(\.description).joined(separator: "\n") }

    /// The first of the problems, for answers and lines of logs, which have bounds that a file has not.
    public var summary: String {
        let most = 10
        guard problems.count > most else { return description }
        let first = ConfigurationError(problems: Array(problems.prefix(most))).description
        return "\(first)\nand \(problems.count - most) more, which `custodyd --check-config` names"
    }
}
