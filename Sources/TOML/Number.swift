/// Numbers as TOML writes them.
enum Number {
    /// Characters of a number; 64 bits need fewer.
    private static let lengthLimit = 64

    /// nil if the word does not begin as a number does.
    static func read(_ word: String, _ error: (String) -> TOMLError) throws(TOMLError) -> TOMLValue? {
        let isSigned = word.hasPrefix("+") || word.hasPrefix("-")
        var digits = Digits(word.utf8.dropFirst(isSigned ? 1 : 0))
        if digits.take("inf") { return digits.isAtEnd ? .float(word.hasPrefix("-") ? -.infinity : .infinity) : nil }
        if digits.take("nan") { return digits.isAtEnd ? .float(.nan) : nil }
        guard digits.isAtDigit else { return nil }
        guard word.utf8.count <= lengthLimit else { throw error("this number has more than \(lengthLimit) characters") }
        if digits.takeBase() { throw error("numbers are written in decimal here; a file mode is a string in quotes") }
        let isZero = digits.isNext("0")
        guard digits.takeDigits() else { throw error("'_' stands between digits of a number only") }
        // Before the rest is judged: both would be taken for half a number.
        guard !isDate(word) else { throw error("dates and times have no place here; what begins with a digit and is no number needs quotes") }
        let whole = word.utf8.count - digits.rest.count - (isSigned ? 1 : 0)
        guard !isZero || whole == 1 else { throw error("a number has no leading 0; if it is a text, such as a file mode, it needs quotes") }
        var isFloat = false
        if digits.take(".") {
            guard digits.takeDigits() else { throw error("digits are missing behind the '.' of a number") }
            isFloat = true
        }
        if digits.take("e") || digits.take("E") {
            _ = digits.take("+") || digits.take("-")
            guard digits.takeDigits() else { throw error("digits are missing in the exponent of a number") }
            isFloat = true
        }
        guard digits.isAtEnd else { throw error("this is no number; if it is a text, it needs quotes") }
        let plain = word.filter { $0 != "_" }
        if isFloat {
            guard let number = Double(plain), number.isFinite else { throw error("this number is too large") }
            return .float(number)
        }
        guard let number = Int(plain) else { throw error("this number is too large: whole numbers have 64 bits") }
        return .integer(number)
    }

    private static func isDate(_ word: String) -> Bool {
        var previous: UInt8 = 0
        for byte in word.utf8 {
            if byte == UInt8(ascii: ":") || byte == UInt8(ascii: "-") && Digits.isDigit(previous) { return true }
            previous = byte
        }
        return false
    }

    /// Goes over the characters of a number.
    private struct Digits {
        private(set) var rest: Substring.UTF8View

        init(_ rest: Substring.UTF8View) { self.rest = rest }

        var isAtEnd: Bool { rest.isEmpty }
        var isAtDigit: Bool { rest.first.map(Self.isDigit) ?? false }

        static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

        func isNext(_ text: String) -> Bool { rest.starts(with: text.utf8) }

        mutating func take(_ text: String) -> Bool {
            guard isNext(text) else { return false }
            rest = rest.dropFirst(text.utf8.count)
            return true
        }

        mutating func takeBase() -> Bool { take("0x") || take("0o") || take("0b") || take("0X") || take("0O") || take("0B") }

        /// Digits, between which an underscore may stand.
        mutating func takeDigits() -> Bool {
            guard isAtDigit else { return false }
            while isAtDigit {
                rest = rest.drop(while: Self.isDigit)
                if isNext("_") {
                    rest = rest.dropFirst()
                    guard isAtDigit else { return false }
                }
            }
            return true
        }
    }
}
