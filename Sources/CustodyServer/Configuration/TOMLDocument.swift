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
            guard let dot = path.lastIndex(of: ".") else { return nil }
            path = path[..<dot]
        }
        return nil
    }

    /// Headers and keys at the beginnings of lines. The text is known to be TOML, so a rough reading is enough.
    private static func index(_ text: String) -> [String: Int] {
        var lines: [String: Int] = [:]
        var arrays: [String: Int] = [:]
        var prefix = ""
        for (index, raw) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let line = raw.drop { $0 == " " || $0 == "\t" }
            if line.hasPrefix("[[") {
                let name = line.dropFirst(2).prefix { $0 != "]" }.filter { $0 != " " && $0 != "\"" }
                prefix = "\(name)[\(arrays[name, default: 0])]"
                arrays[name, default: 0] += 1
                lines[prefix] = index + 1
            } else if line.hasPrefix("[") {
                prefix = line.dropFirst().prefix { $0 != "]" }.filter { $0 != " " && $0 != "\"" }
                lines[prefix] = index + 1
            } else if let equals = line.firstIndex(of: "="), !line.hasPrefix("#") {
                let key = line[..<equals].filter { $0 != " " && $0 != "\t" && $0 != "\"" && $0 != "'" }
                let path = prefix.isEmpty ? key : "\(prefix).\(key)"
                if lines[path] == nil { lines[path] = index + 1 }
            }
        }
        return lines
    }
}
