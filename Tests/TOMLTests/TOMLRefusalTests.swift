import Testing

@testable import TOML

/// What is refused: with its line, its column and what to write instead.
@Suite struct TOMLRefusalTests {
    private func refusal(_ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) -> TOMLError? {
        do throws(TOMLError) {
            _ = try TOMLDocument.read(bytes)
            Issue.record("it was read", sourceLocation: sourceLocation)
            return nil
        } catch {
            return error
        }
    }

    @Test(arguments: [
        // What TOML has and the subset has not.
        ("a = \"\"\"\nx\"\"\"", 1, 5, "three quotes are not read; write it on one line"),
        ("a = '''x'''", 1, 5, "three quotes are not read"),
        ("\"\"\"a\"\"\" = 1", 1, 1, "three quotes are not read"),
        ("a = 1979-05-27T07:32:00Z", 1, 5, "dates and times have no place here"),
        ("a = 1979-05-27", 1, 5, "dates and times have no place here"),
        ("a = 07:32:00", 1, 5, "dates and times have no place here"),
        ("a.b = 1", 1, 2, "keys with dots are not read: put quotes around the key"),
        ("a = { b.c = 1 }", 1, 8, "keys with dots are not read"),
        ("a = 0x10", 1, 5, "numbers are written in decimal here"),
        ("a = 0o660", 1, 5, "a file mode is a string in quotes"),
        ("a = \"\\u0000\"", 1, 6, "a NUL can't stand in a string"),
        ("a = 1e999", 1, 5, "this number is too large"),
        // Strings.
        ("\na = \"x", 2, 5, "a \" is missing on its line"),
        ("a = \"x\ny\"", 1, 5, "write \\n for a line's end"),
        ("a = \"x\\\"", 1, 5, "a \" is missing on its line"),
        ("a = 'x", 1, 5, "a ' is missing on its line"),
        ("a = \"x\\y\"", 1, 7, "a backslash in a string between \" is followed by one of b t n f r"),
        ("a = \"\\x41\"", 1, 6, "a backslash in a string"),
        ("a = \"\\e\"", 1, 6, "a backslash in a string"),
        ("a = \"\\", 1, 6, "a backslash in a string"),
        ("a = \"\\u12\"", 1, 6, "\\u is followed by 4 hexadecimal digits"),
        ("a = \"\\U0001F51\"", 1, 6, "\\U is followed by 8 hexadecimal digits"),
        ("a = \"\\uD800\"", 1, 6, "there is no character U+D800"),
        ("a = \"\\U00110000\"", 1, 6, "there is no character U+00110000"),
        ("é = 1", 1, 1, "a key is expected here"),
        ("\"é\" = \"é\\q\"", 1, 9, "a backslash in a string"),
        // Numbers and other words.
        ("a = 0660", 1, 5, "a number has no leading 0; if it is a text, such as a file mode, it needs quotes"),
        ("a = -01.5", 1, 5, "no leading 0"),
        ("a = 1__0", 1, 5, "'_' stands between digits"),
        ("a = 1_", 1, 5, "'_' stands between digits"),
        ("a = 1.", 1, 5, "digits are missing behind the '.'"),
        ("a = 1.e5", 1, 5, "digits are missing behind the '.'"),
        ("a = 1e", 1, 5, "digits are missing in the exponent"),
        ("a = 1.5.5", 1, 5, "this is no number"),
        ("a = 12ab", 1, 5, "this is no number; if it is a text, it needs quotes"),
        ("a = 9223372036854775808", 1, 5, "whole numbers have 64 bits"),
        ("a = 1\(String(repeating: "0", count: 64))", 1, 5, "more than 64 characters"),
        ("a = .5", 1, 5, "this is no value"),
        ("a = +", 1, 5, "this is no value"),
        ("a = infinity", 1, 5, "this is no value"),
        ("a = True", 1, 5, "true and false have small letters"),
        ("a = hello", 1, 5, "a string needs quotes"),
        // Keys, values and lines.
        ("x", 1, 2, "'=' is expected behind the key 'x', but the file ends"),
        ("x\ny = 1", 1, 2, "'=' is expected behind the key 'x', but the line ends"),
        ("a =", 1, 4, "a value is expected here, but the file ends"),
        ("a = # nothing\n", 1, 5, "a value is expected here, but there is '#'"),
        ("a == 1", 1, 4, "a value is expected here, but there is '='"),
        ("= 1", 1, 1, "a key is expected here"),
        ("a b = 1", 1, 3, "'=' is expected behind the key 'a', but there is a letter"),
        ("a = 1 b = 2", 1, 7, "nothing else may follow on this line, but there is a letter"),
        ("a = \"x\" \"y\"", 1, 9, "nothing else may follow on this line"),
        ("a = 1\nb = 2\na = 3", 3, 1, "the key 'a' is in this table already, in line 1"),
        ("'a' = 1\n\"a\" = 3", 2, 1, "the key 'a' is in this table already"),
        ("\"\u{E9}\" = 1\n\"e\u{301}\" = 3", 2, 1, "is in this table already"),
        // Headers.
        ("[", 1, 2, "a header names its table, such as [server] or [[grant]], but the file ends"),
        ("[]", 1, 2, "a header names its table"),
        ("[[]]", 1, 3, "a header names its table"),
        ("[a.]", 1, 4, "a header names its table"),
        ("[a b]", 1, 4, "this header ends with ']', but there is a letter"),
        ("[a\nb = 1", 1, 3, "this header ends with ']', but the line ends"),
        ("[[a]", 1, 4, "this header ends with ']]', but there is ']'"),
        ("[ [a]]", 1, 3, "a header names its table"),
        ("[a] b = 1", 1, 5, "nothing else may follow on this line"),
        ("[a]\n[b]\n[a]", 3, 2, "'a' is there already, in line 1; put all its keys together"),
        ("[a]\n[[a]]", 2, 3, "'a' is there already, in line 1, and is no array of tables"),
        ("[[a]]\n[a]", 2, 2, "'a' is there already, in line 1; write [[...]] for one more"),
        ("a = [{}]\n[[a]]", 2, 3, "'a' is there already, in line 1, and is no array of tables"),
        ("a = {}\n[a]", 2, 2, "'a' is there already, in line 1"),
        ("a = {}\n[a.b]", 2, 2, "'a' has a value in line 1, so no header can add to it"),
        ("[a.b.c]\n[[a.b]]", 2, 5, "'b' is there already, in line 1"),
        ("[a]\nb = 1\n[a.b]", 3, 4, "'b' is there already, in line 2"),
        ("[a.b]\n[a]\nb = 1", 3, 1, "the key 'b' is in this table already, in line 1"),
        // Arrays and inline tables.
        ("a = [1 2]", 1, 8, "',' or ']' is expected in an array, but there is a digit"),
        ("a = [,]", 1, 6, "a value is expected here, but there is ','"),
        ("a = [1,,2]", 1, 8, "a value is expected here"),
        ("x = [ 1,\n # comment\n } ]", 3, 2, "a value is expected here, but there is '}'"),
        ("\na = [1,\n2,\n", 2, 5, "this array has no end"),
        ("a = [", 1, 5, "this array has no end"),
        ("a = { b = 1, }", 1, 12, "there is no ',' before the '}' of an inline table"),
        ("a = {\nb = 1 }", 1, 5, "give a longer one a header, [table]"),
        ("a = { b = 1,\n c = 2 }", 1, 5, "an inline table ends with '}' on the line on which it begins"),
        ("a = { b = 1 # }", 1, 5, "an inline table ends with '}'"),
        ("a = { b = 1 c = 2 }", 1, 13, "',' or '}' is expected in an inline table"),
        ("a = { b = 1, b = 2 }", 1, 14, "the key 'b' is in this table already"),
        ("a = { , }", 1, 7, "a key is expected here"),
        // Characters.
        ("a = 1\r\r\nb = 2", 1, 6, "a carriage return stands alone"),
        ("a = 1\r", 1, 6, "a carriage return stands alone"),
        ("# \u{0}", 1, 3, "there is a NUL"),
        ("a = 1\n# \u{1B}[1A", 2, 3, "a control character, U+001B; write it in a string between \" as \\u001B"),
        ("a = \"\u{7F}\"", 1, 6, "a control character, U+007F"),
        ("a = \"\u{9B}\"", 1, 6, "a control character, U+009B"),
        ("# \u{202E}", 1, 3, "turns the direction of writing, U+202E"),
        ("\u{FEFF}a = 1", 1, 1, "begins with a byte order mark"),
        ("a = \u{A0}1", 1, 5, "looks like a space, U+00A0; write it in a string between \" as \\u00A0"),
        ("a = 1\n# \u{E0041}", 2, 3, "can't be seen or looks like a space, U+E0041; write it in a string between \" as \\U000E0041"),
    ] as [(String, Int, Int, String)])
    func mistakeHasItsPlaceAndWhatToWrite(_ text: String, _ line: Int, _ column: Int, _ message: String) throws {
        let error = try #require(refusal(Array(text.utf8)))
        #expect(error.line == line && error.column == column, "\(error)")
        #expect(error.message.contains(message), "\(error)")
    }

    /// Neither in a string nor in a key nor in a comment; by an escape each of them can be written.
    @Test func whatCantBeSeen() throws {
        let ranges: [ClosedRange<UInt32>] = [
            0xA0...0xA0, 0xAD...0xAD, 0x34F...0x34F, 0x115F...0x1160, 0x1680...0x1680, 0x17B4...0x17B5, 0x180B...0x180F, 0x2000...0x200D, 0x2028...0x2029,
            0x202F...0x202F, 0x205F...0x2065, 0x206A...0x206F, 0x2800...0x2800, 0x3000...0x3000, 0x3164...0x3164, 0xFE00...0xFE0F, 0xFEFF...0xFEFF,
            0xFFA0...0xFFA0, 0xFFF9...0xFFFB, 0xE0000...0xE0FFF,
        ]
        for value in ranges.joined() {
            let scalar = try #require(Unicode.Scalar(value))
            for text in ["a = \"\(scalar)\"", "a = '\(scalar)'", "'a\(scalar)' = 1", "# a\(scalar)"] {
                let error = try #require(refusal(Array(text.utf8)))
                #expect(error.message.contains("can't be seen") && error.message.contains(String(value, radix: 16, uppercase: true)), "\(error)")
            }
            let digits = String(value, radix: 16)
            let escaped = "a = \"\\U\(String(repeating: "0", count: 8 - digits.count))\(digits)\""
            #expect(throws: Never.self) { try TOMLDocument.read(Array(escaped.utf8)) }
        }
        // What can be seen stays, in every language.
        #expect(throws: Never.self) { try TOMLDocument.read(Array("# Müller, 東京, हिन्दी, e\u{301}, 🔑\na = \"Ω・–\"".utf8)) }
    }

    @Test(arguments: [
        ([0xFF], 1, 1), ([0x61, 0x3D, 0x31, 0x0A, 0x23, 0xC3, 0xA9, 0xC3], 2, 3), ([0x23, 0xC0, 0xAF], 1, 2), ([0x23, 0xED, 0xA0, 0x80], 1, 2),
        ([0x23, 0xF4, 0x90, 0x80, 0x80], 1, 2),
    ] as [([UInt8], Int, Int)])
    func whatIsNoUTF8(_ bytes: [UInt8], _ line: Int, _ column: Int) throws {
        let error = try #require(refusal(bytes))
        #expect(error.line == line && error.column == column && error.message.contains("no UTF-8"), "\(error)")
    }

    /// A PIN has no place in the file, and whoever puts it there does not find it in a log.
    @Test(arguments: [
        "pin = 73591846x", "pin = \"73591846", "pin = 073591846", "pin = \"\"73591846", "pin = x73591846", "pin 73591846", "pin = '73591846' 73591846",
        "a = [73591846 73591846]", "a = 73591846-01", "a = 73591846735918467359184673591846",
    ])
    func noValueIsQuoted(_ text: String) throws {
        let message = try #require(refusal(Array(text.utf8))).message
        #expect(!message.contains("7359"), "\(message)")
    }

    @Test func whatIsQuotedOfAKeyIsShortAndPrintable() throws {
        let key = "\"\\u001b[2J\\n\(String(repeating: "k", count: 100_000))\""
        let message = try #require(refusal(Array("\(key) = 1\n\(key) = 2".utf8))).message
        #expect(message.hasPrefix("the key '\\u{1b}[2J\\u{a}kkk"), "\(message)")
        #expect(message.count < 200)
    }
}
