/// Text as a person may see it. What could act on a terminal, hide itself, or turn around what stands beside it is written as an
/// escape of Swift's, such as `\n` and `\u{202e}`, and a backslash as two, so that no two texts look alike by it.
public enum VisibleText {
    /// One line, whatever is in the text.
    public static func escaped(_ text: String) -> String {
        guard !isPlain(text) else { return text }
        var visible = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": visible += "\\\\"
            case "\n": visible += "\\n"
            case "\r": visible += "\\r"
            case "\t": visible += "\\t"
            case _ where isHarmless(scalar): visible.unicodeScalars.append(scalar)
            default: visible += "\\u{\(String(scalar.value, radix: 16))}"
            }
        }
        return visible
    }

    /// A value that stands beside others in a line: between quotes, with those in it escaped, unless it is a plain word, so that it can't
    /// pass for several.
    public static func quotedIfNeeded(_ text: String) -> String {
        let isWord = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
            default: "._-/:@+".utf8.contains(byte)
            }
        }
        if isWord, !text.isEmpty { return text }
        var quoted = "\""
        for scalar in escaped(text).unicodeScalars {
            if scalar == "\"" { quoted += "\\" }
            quoted.unicodeScalars.append(scalar)
        }
        return quoted + "\""
    }

    /// A JSON document that says the same to programs, with such characters in JSON's own escapes. White space between values
    /// stays; within strings JSON has the first 32 characters escaped already.
    public static func escapedJSON(_ document: String) -> String {
        guard !document.utf8.allSatisfy({ $0 < 0x7F }) else { return document }
        var visible = ""
        for scalar in document.unicodeScalars {
            guard scalar.value >= 0x20, !isHarmless(scalar) else {
                visible.unicodeScalars.append(scalar)
                continue
            }
            for unit in String(scalar).utf16 {
                let digits = String(unit, radix: 16)
                visible += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }
        }
        return visible
    }

    private static func isPlain(_ text: String) -> Bool {
        text.utf8.allSatisfy { (0x20...0x7E).contains($0) && $0 != UInt8(ascii: "\\") }
    }

    /// Everything that has a form of its own on the screen, and nothing that only changes the form of others.
    private static func isHarmless(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII { return (0x20...0x7E).contains(scalar.value) }
        switch scalar.properties.generalCategory {
        // Controls of the upper range, bidirectional and other format characters, ends of lines and paragraphs, and what means
        // something to some font or some later version of Unicode alone.
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate, .unassigned: return false
        default: return !scalar.properties.isDefaultIgnorableCodePoint
        }
    }
}
