extension Parser {
    /// A string between `"`, with escapes.
    mutating func basicString() throws(TOMLError) -> String {
        let start = try openQuote("\"")
        var content: [UInt8] = []
        while !scanner.isAtLineEnd, let byte = scanner.next {
            if scanner.take("\"") { return String(decoding: content, as: UTF8.self) }
            if byte == UInt8(ascii: "\\") {
                content.append(contentsOf: UTF8.encode(try escape()).map { Array($0) } ?? [])
            } else {
                content.append(byte)
                scanner.advance()
            }
        }
        throw scanner.error("this string has no end: a \" is missing on its line; write \\n for a line's end", at: start)
    }

    /// A string between `'`, where a backslash stands for itself.
    mutating func literalString() throws(TOMLError) -> String {
        let start = try openQuote("'")
        let content = scanner.take { $0 != UInt8(ascii: "'") && $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }
        guard scanner.take("'") else { throw scanner.error("this string has no end: a ' is missing on its line", at: start) }
        return content
    }

    private mutating func openQuote(_ quote: Unicode.Scalar) throws(TOMLError) -> Scanner.Place {
        let start = scanner.place
        guard !scanner.starts(with: String(repeating: String(quote), count: 3)) else {
            throw scanner.error("strings in three quotes are not read; write it on one line between \", with \\n for a line's end")
        }
        scanner.advance()
        return start
    }

    private mutating func escape() throws(TOMLError) -> Unicode.Scalar {
        let start = scanner.place
        scanner.advance()
        let letter = scanner.next.map { Unicode.Scalar($0) } ?? " "
        let short: Unicode.Scalar? = switch letter {
        case "b": "\u{8}"
        case "t": "\t"
        case "n": "\n"
        case "f": "\u{C}"
        case "r": "\r"
        case "\"", "\\": letter
        default: nil
        }
        if let short {
            scanner.advance()
            return short
        }
        guard letter == "u" || letter == "U" else {
            throw scanner.error("a backslash in a string between \" is followed by one of b t n f r \" \\ u U; write \\\\ for a backslash, or put the string between '", at: start)
        }
        scanner.advance()
        let length = letter == "u" ? 4 : 8
        var digits = ""
        while digits.utf8.count < length, let byte = scanner.next, Unicode.Scalar(byte).properties.isASCIIHexDigit {
            digits.unicodeScalars.append(Unicode.Scalar(byte))
            scanner.advance()
        }
        guard digits.utf8.count == length, let number = UInt32(digits, radix: 16) else {
            throw scanner.error("\\\(letter) is followed by \(length) hexadecimal digits", at: start)
        }
        // No path, name or other string of a configuration can hold it: what reads them in C would see a shorter one.
        guard number != 0 else { throw scanner.error("a NUL can't stand in a string", at: start) }
        guard let scalar = Unicode.Scalar(number) else { throw scanner.error("there is no character U+\(digits)", at: start) }
        return scalar
    }
}
