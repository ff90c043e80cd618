import TOMLKit

/// A parsed TOML file that knows the line of each of its values, which TOMLKit does not tell.
struct TOMLDocument {
    let table: TOMLTable
    private let lines: [String: Int]

    /// - Throws: ``ConfigurationError`` for what is not TOML.
    init(_ text: String, file: String) throws(ConfigurationError) {
        do {
            table = try TOMLTable(string: text)
        } catch let error as TOMLParseError {
            throw ConfigurationError(problems: [.init(file: file, line: error.source.begin.line, message: error.description)])
        } catch {
            throw ConfigurationError(problems: [.init(file: file, line: nil, message: "not TOML: \(error)")])
        }
        lines = Self.index(text)
    }

    /// The line of a value such as `grant[1].keys`, or of the nearest thing around it that has one.
    func line(of path: String) -> Int? {
        var path = path[...]
        while !path.isEmpty {
            if let line = lines[String(path)] { return line }
            path = path[..<(path.lastIndex { $0 == "." || $0 == "[" } ?? path.startIndex)]
        }
        return nil
    }

    /// Whether a value stands on a line of its own.
    func hasLine(_ path: String) -> Bool { lines[path] != nil }

    /// Headers and keys at the beginnings of lines. The text is known to be TOML, so a rough reading is enough.
    private static func index(_ text: String) -> [String: Int] {
        func name(_ text: Substring) -> String { text.filter { !" \t\"'".contains($0) } }
        var lines: [String: Int] = [:]
        var arrays: [String: Int] = [:]
        var prefix = ""
        var strings = Strings()
        // By the line ends of TOML and no others, which strings may hold.
        for (index, raw) in text.split(omittingEmptySubsequences: false, whereSeparator: { $0 == "\n" || $0 == "\r\n" }).enumerated() {
            let isInString = strings.open != nil
            strings.read(raw)
            let line = raw.drop { $0 == " " || $0 == "\t" }
            if isInString || line.hasPrefix("#") {
                continue
            } else if line.hasPrefix("[[") {
                let name = name(line.dropFirst(2).prefix { $0 != "]" })
                prefix = "\(name)[\(arrays[name, default: 0])]"
                arrays[name, default: 0] += 1
                lines[prefix] = index + 1
            } else if line.hasPrefix("[") {
                prefix = name(line.dropFirst().prefix { $0 != "]" })
                lines[prefix] = index + 1
            } else if let equals = line.firstIndex(of: "=") {
                let key = name(line[..<equals])
                let path = prefix.isEmpty ? key : "\(prefix).\(key)"
                if lines[path] == nil { lines[path] = index + 1 }
            }
        }
        return lines
    }

    /// Follows strings from line to line: those in three quotes may hold anything, also what looks like a header.
    private struct Strings {
        /// The quotes that end the string that is open.
        private(set) var open: String?

        mutating func read(_ line: Substring) {
            var rest = line
            while let first = rest.first {
                if let end = open {
                    if rest.hasPrefix(end) { open = nil }
                    let isEscape = first == "\\" && end.hasPrefix("\"")
                    rest = rest.dropFirst(open == nil ? end.count : isEscape ? 2 : 1)
                } else if first == "#" {
                    break
                } else if first == "\"" || first == "'" {
                    let three = String(repeating: first, count: 3)
                    let quotes = rest.hasPrefix(three) ? three : String(first)
                    open = quotes
                    rest = rest.dropFirst(quotes.count)
                } else {
                    rest = rest.dropFirst()
                }
            }
            // All others end with their line.
            if open?.count == 1 { open = nil }
        }
    }
}
