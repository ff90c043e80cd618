/// The characters of a document, before anything is made of them.
enum Characters {
    /// Refuses what is no UTF-8, and what no text has or what makes it look like another.
    static func check(_ bytes: [UInt8]) throws(TOMLError) {
        var decoder = Unicode.UTF8()
        var rest = bytes.makeIterator()
        var (line, column) = (1, 1)
        var previous: Unicode.Scalar?
        func error(_ message: String, at column: Int) -> TOMLError { TOMLError(line: line, column: column, message: message) }
        let lonely = "a carriage return stands alone; lines end with a line feed, with or without a carriage return before it"
        decoding: while true {
            switch decoder.decode(&rest) {
            case .error: throw error("this is no UTF-8 text; save the file as UTF-8", at: column)
            case .emptyInput: break decoding
            case .scalarValue(let scalar):
                if previous == "\r", scalar != "\n" { throw error(lonely, at: column - 1) }
                if let why = objection(to: scalar, isFirst: previous == nil) { throw error(why, at: column) }
                previous = scalar
                column += 1
                if scalar == "\n" { (line, column) = (line + 1, 1) }
            }
        }
        if previous == "\r" { throw error(lonely, at: column - 1) }
    }

    private static func objection(to scalar: Unicode.Scalar, isFirst: Bool) -> String? {
        switch scalar.value {
        case 0x09, 0x0A, 0x0D, 0x20...0x7E: nil
        case 0x00: "there is a NUL, which no text has"
        case 0x01...0x1F, 0x7F...0x9F:
            "there is a control character, U+\(hexadecimal(scalar)); write it in a string between \" as \\u\(hexadecimal(scalar))"
        // They would show a person another order than the one that is read.
        case 0x061C, 0x200E, 0x200F, 0x202A...0x202E, 0x2066...0x2069:
            "there is an invisible character that turns the direction of writing, U+\(hexadecimal(scalar)); "
                + "write it in a string between \" as \\u\(hexadecimal(scalar))"
        case 0xFEFF where isFirst: "the file begins with a byte order mark; save it as UTF-8 without one"
        case _ where isHidden(scalar):
            "there is a character that can't be seen or looks like a space, U+\(hexadecimal(scalar)); "
                + "write it in a string between \" as \(escape(scalar)), or a space instead"
        default: nil
        }
    }

    /// What takes no room, or only room: a person would see another text than the one that is read.
    private static func isHidden(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .format, .lineSeparator, .paragraphSeparator, .spaceSeparator: true
        // A Braille pattern without dots.
        default: scalar.properties.isDefaultIgnorableCodePoint || scalar.value == 0x2800
        }
    }

    private static func escape(_ scalar: Unicode.Scalar) -> String {
        scalar.value > 0xFFFF ? "\\U000\(hexadecimal(scalar))" : "\\u\(hexadecimal(scalar))"
    }

    private static func hexadecimal(_ scalar: Unicode.Scalar) -> String {
        let digits = String(scalar.value, radix: 16, uppercase: true)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }
}
