import TOMLKit

/// A parsed TOML file that knows the line of each of its values, which TOMLKit does not tell.
struct TOMLDocument {
    let table: TOMLTable
    private let lines: [String: Int]

    /// - Throws: ``ConfigurationError`` for what is not TOML.
    init(_ text: String, file: String) throws(ConfigurationError) {
        if let (line, message) = Self.danger(text) {
            throw ConfigurationError(problems: [.init(file: file, line: line, message: message)])
        }
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

    /// What the parser (toml++ 3.4) must not be given: it takes a NUL for the end of the file, and some mistakes end the process
    /// instead of being refused, which would end a daemon that is told to reload.
    private static func danger(_ text: String) -> (line: Int, message: String)? {
        var strings = Strings()
        var values = Values()
        for (index, line) in text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            if line.contains(0) { return (index + 1, "there is a NUL in this line, which no text has") }
            let isInString = strings.open != nil
            strings.read(line) { values.read($0) }
            values.read(UInt8(ascii: " "))
            if let mistake = values.mistake { return (index + 1, mistake) }
            let isHeader = !isInString && isHeaderWithoutName(index == 0 && line.starts(with: [0xEF, 0xBB, 0xBF]) ? line.dropFirst(3) : line)
            if isHeader { return (index + 1, "a header names its table, such as [server] or [[grant]]") }
        }
        return nil
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }

    private static func isHeaderWithoutName(_ line: Substring.UTF8View) -> Bool {
        var rest = line.drop(while: isBlank)
        guard rest.first == UInt8(ascii: "[") else { return false }
        rest = rest.dropFirst()
        if rest.first == UInt8(ascii: "[") { rest = rest.dropFirst() }
        guard let first = rest.drop(while: isBlank).first else { return true }
        // Anything else than a key is none, but a closing bracket is what the parser refuses itself.
        let isLetter = (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(first | 0x20)
        return !isLetter && !"0123456789-_\"']".utf8.contains(first)
    }

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
            strings.read(raw.utf8)
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

    /// Follows what is neither string nor comment, as far as the parser can't be trusted with it.
    private struct Values {
        private(set) var mistake: String?
        /// The last byte that is no blank.
        private var previous: UInt8 = 0
        private var isInNumber = false

        mutating func read(_ byte: UInt8) {
            guard !isBlank(byte), byte != UInt8(ascii: "\r") else {
                isInNumber = false
                return
            }
            let isBehind = "[,".utf8.contains(previous)
            if byte == UInt8(ascii: "}"), isBehind { mistake = "a '}' stands where a value is expected" }
            if isBehind || previous == UInt8(ascii: "=") { isInNumber = "+-0123456789".utf8.contains(byte) }
            if ",]}".utf8.contains(byte) { isInNumber = false }
            let isOfDate = byte == UInt8(ascii: ":") || byte == UInt8(ascii: "-") && "0123456789".utf8.contains(previous)
            if isInNumber, isOfDate {
                mistake = "dates and times have no place here; what begins with a digit and is no number needs quotes"
            }
            previous = byte
        }
    }

    /// Follows strings from line to line: those in three quotes may hold anything, also what looks like a header.
    private struct Strings {
        /// The quotes that end the string that is open.
        private(set) var open: [UInt8]?

        /// By bytes: a quote and what stands beside it may be one character.
        ///
        /// - Parameter visit: Gets the bytes that are neither in strings nor in comments, and the first of each string.
        mutating func read(_ line: Substring.UTF8View, visit: (UInt8) -> Void = { _ in }) {
            let (quote, apostrophe, backslash) = (UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "\\"))
            var rest = line
            while let first = rest.first {
                if let end = open {
                    if rest.starts(with: end) { open = nil }
                    let isEscape = first == backslash && end.first == quote
                    rest = rest.dropFirst(open == nil ? end.count : isEscape ? 2 : 1)
                } else if first == UInt8(ascii: "#") {
                    break
                } else if first == quote || first == apostrophe {
                    let three = [UInt8](repeating: first, count: 3)
                    let quotes = rest.starts(with: three) ? three : [first]
                    open = quotes
                    rest = rest.dropFirst(quotes.count)
                    visit(first)
                } else {
                    rest = rest.dropFirst()
                    visit(first)
                }
            }
            // All others end with their line.
            if open?.count == 1 { open = nil }
        }
    }
}
