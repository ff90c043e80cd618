import ByteEncoding
import Foundation
import Testing

/// What a person sees of text that somebody else wrote.
@Suite struct VisibleTextTests {
    @Test(arguments: [
        ("", ""), ("payments 17", "payments 17"), ("Müller, 東京, हिन्दी, é, 🔑", "Müller, 東京, हिन्दी, é, 🔑"),
        // A replacement character that somebody wrote is a character.
        ("\u{FFFD}", "\u{FFFD}"),
        ("a\nb\r\nc\td", "a\\nb\\r\\nc\\td"), ("\u{0}\u{7}\u{1B}[2J\u{7F}", "\\u{0}\\u{7}\\u{1b}[2J\\u{7f}"),
        ("\u{80}\u{9B}31m\u{9F}", "\\u{80}\\u{9b}31m\\u{9f}"), ("a\u{85}b\u{2028}c\u{2029}d", "a\\u{85}b\\u{2028}c\\u{2029}d"),
        ("\u{202A}\u{202E}\u{2066}\u{2069}\u{200E}\u{200F}\u{61C}", "\\u{202a}\\u{202e}\\u{2066}\\u{2069}\\u{200e}\\u{200f}\\u{61c}"),
        ("pay\u{200B}ments\u{AD}\u{2060}\u{FEFF}", "pay\\u{200b}ments\\u{ad}\\u{2060}\\u{feff}"),
        ("\u{E0041}\u{3164}\u{34F}\u{FE0F}", "\\u{e0041}\\u{3164}\\u{34f}\\u{fe0f}"), ("\u{E000}\u{F0000}\u{378}", "\\u{e000}\\u{f0000}\\u{378}"),
        ("\\n", "\\\\n"), ("\\u{202e}", "\\\\u{202e}"),
    ])
    func escaped(_ text: String, _ visible: String) {
        #expect(VisibleText.escaped(text).utf8.elementsEqual(visible.utf8))
    }

    @Test(arguments: [
        ("acme-1", "acme-1"), ("arn:aws/x@y+z_0.9", "arn:aws/x@y+z_0.9"), ("", "\"\""), ("a b", "\"a b\""), ("a=b", "\"a=b\""), ("a,b", "\"a,b\""),
        ("say \"x\"", "\"say \\\"x\\\"\""), ("a\\", "\"a\\\\\""), ("m\u{FC}\n", "\"m\u{FC}\\n\""), ("\"\u{301}", "\"\\\"\u{301}\""),
    ])
    func quoted(_ text: String, _ visible: String) {
        #expect(VisibleText.quotedIfNeeded(text).utf8.elementsEqual(visible.utf8))
    }

    /// No two texts look alike by the escaping, and no scalar at all gets through that should not.
    @Test func everyScalar() {
        var seen: Set<String> = []
        for value in UInt32(0)...0x10FFFF {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let visible = VisibleText.escaped(String(scalar))
            for shown in visible.unicodeScalars {
                let category = shown.properties.generalCategory
                #expect(![.control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned].contains(category))
            }
            let isPlain = visible.unicodeScalars.count == 1
            #expect(isPlain ? visible.unicodeScalars.first == scalar : visible.utf8.first == UInt8(ascii: "\\"))
            if !isPlain { #expect(seen.insert(visible).inserted, "\(visible)") }
        }
    }

    @Test func jsonSaysTheSame() throws {
        let values = ["a\nb\u{1B}[2J", "\u{7F}\u{9B}\u{202E}\u{2028}", "\u{E0041}\u{F0000}", "Müller \\ \"q\""]
        let document = String(decoding: try JSONEncoder().encode(values), as: UTF8.self)
        let visible = VisibleText.escapedJSON(document)
        #expect(try JSONDecoder().decode([String].self, from: Data(visible.utf8)) == values)
        #expect(visible.contains("\\u007f\\u009b\\u202e\\u2028") && visible.contains("\\udb40\\udc41\\udb80\\udc00") && visible.contains("Müller"))
        #expect(visible.unicodeScalars.allSatisfy { ![.control, .format, .lineSeparator].contains($0.properties.generalCategory) })
        #expect(VisibleText.escapedJSON("[\n  \"é\"\n]") == "[\n  \"é\"\n]", "white space between values stays")
    }

    @Test(arguments: [
        ([0x6D, 0xFC, 0x6C], 1), ([0xC3], 0), ([0x61, 0xC3, 0x28], 1), ([0xC3, 0xBC, 0xED, 0xA0, 0x80], 2), ([0xC0, 0x80], 0),
        ([0xF4, 0x90, 0x80, 0x80], 0), ([0xE2, 0x82], 0), ([0xEF, 0xBF, 0xBD, 0xFF], 3),
    ] as [([UInt8], Int)])
    func notText(_ bytes: [UInt8], _ offset: Int) {
        #expect(throws: NotUTF8(offset: offset, byte: bytes[offset])) { try String(strictUTF8: bytes) }
        #expect(NotUTF8.first(in: bytes)?.description == "it is not UTF-8 text: its byte \(offset + 1), 0x\(hexadecimal([bytes[offset]])), belongs to no character")
    }

    @Test(arguments: ["", "plain", "Müller", "\u{FFFD}", "\u{0}", "\u{10FFFF}"])
    func text(_ text: String) throws {
        #expect(try String(strictUTF8: Array(text.utf8)) == text)
        #expect(NotUTF8.first(in: Array(text.utf8)) == nil)
    }
}
