extension Parser {
    /// - Parameter depth: Of how many arrays and inline tables it is within.
    mutating func value(depth: Int) throws(TOMLError) -> TOMLValue {
        switch scanner.next {
        case UInt8(ascii: "\""): return .string(try basicString())
        case UInt8(ascii: "'"): return .string(try literalString())
        case UInt8(ascii: "["), UInt8(ascii: "{"):
            guard depth < TOMLDocument.depthLimit else {
                throw scanner.error("arrays and inline tables nest at most \(TOMLDocument.depthLimit) deep")
            }
            return scanner.isNext("[") ? .array(try array(depth: depth)) : .table(try inlineTable(depth: depth))
        default: return try word()
        }
    }

    private mutating func array(depth: Int) throws(TOMLError) -> [TOMLValue] {
        let start = scanner.place
        scanner.advance()
        var elements: [TOMLValue] = []
        while true {
            scanner.skipBlanksCommentsAndLineEnds()
            if scanner.take("]") { return elements }
            guard scanner.next != nil else { break }
            elements.append(try value(depth: depth + 1))
            scanner.skipBlanksCommentsAndLineEnds()
            if scanner.take("]") { return elements }
            guard scanner.next != nil else { break }
            guard scanner.take(",") else { throw scanner.error("',' or ']' is expected in an array, but \(scanner.sight)") }
        }
        throw scanner.error("this array has no end, ']'", at: start)
    }

    private mutating func inlineTable(depth: Int) throws(TOMLError) -> TOMLTable {
        let start = scanner.place
        scanner.advance()
        var entries: [TOMLTable.Entry] = []
        var places: [String: Int] = [:]
        var isEnded = try takeBlanks(andEndOf: start)
        while !isEnded {
            let (key, value) = try pair(depth: depth + 1)
            guard places.updateValue(entries.count, forKey: key.text) == nil else {
                throw scanner.error("the key \(TOMLError.quote(key.text)) is in this table already", at: key.place)
            }
            entries.append(.init(key: key.text, value: value, line: key.place.line))
            isEnded = try takeBlanks(andEndOf: start)
            guard !isEnded else { break }
            let comma = scanner.place
            guard scanner.take(",") else { throw scanner.error("',' or '}' is expected in an inline table, but \(scanner.sight)") }
            if try takeBlanks(andEndOf: start) { throw scanner.error("there is no ',' before the '}' of an inline table", at: comma) }
        }
        return TOMLTable(line: start.line, isInline: true, entries: entries, places: places)
    }

    /// Whether the inline table ends here.
    private mutating func takeBlanks(andEndOf start: Scanner.Place) throws(TOMLError) -> Bool {
        scanner.skipBlanks()
        guard !scanner.isAtLineEnd, !scanner.isNext("#") else {
            throw scanner.error("an inline table ends with '}' on the line on which it begins; give a longer one a header, [table]", at: start)
        }
        return scanner.take("}")
    }

    /// A boolean or a number.
    private mutating func word() throws(TOMLError) -> TOMLValue {
        let place = scanner.place
        let word = scanner.take(while: Self.isOfWord)
        if word == "true" { return .boolean(true) }
        if word == "false" { return .boolean(false) }
        if let number = try Number.read(word, { message in scanner.error(message, at: place) }) { return number }
        if word.isEmpty {
            throw scanner.error("a value is expected here, but \(scanner.sight); it is a string in quotes, a number, true, false, [...] or {...}")
        }
        throw scanner.error("this is no value: a string needs quotes, and true and false have small letters", at: place)
    }

    private static func isOfWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        case UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."), UInt8(ascii: ":"): true
        default: false
        }
    }
}
