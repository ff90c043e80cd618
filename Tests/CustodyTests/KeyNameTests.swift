@testable import Custody
import PKCS11
import TestSupport
import Testing

@Suite struct KeyNameTests {
    private static let longest = String(repeating: "k", count: CustodyLimits.keyName)

    @Test(arguments: ["a", "Z", "0", "payments", "a.b_c-D", "0-", longest])
    func isAName(_ text: String) throws {
        #expect(try KeyName(text).description == text)
        #expect(KeyName(label: Array(text.utf8))?.description == text)
    }

    @Test(arguments: [
        "", "-a", ".a", "_a", "a b", "a\n", "a*", "a/b", "a\u{0}", "K\u{304}", "\u{212A}", "H\u{301}R", "é", "a\u{200B}",
        longest + "k", String(repeating: "é", count: 33),
    ])
    func isNoName(_ text: String) {
        #expect(throws: CustodyError.self) { try KeyName(text) }
        #expect(KeyName(label: Array(text.utf8)) == nil)
    }

    /// What a text is equal to for Swift, and what is made of bytes that are no text, must not become a name.
    @Test func whatOnlyLooksTheSameIsNoName() {
        #expect("\u{212A}" == "K", "Swift compares by canonical equivalence, which is why no String is an identity here")
        let equivalent = "HR-\u{212A}EK"
        #expect(throws: CustodyError.self) { try KeyName(equivalent) }
        #expect(KeyName(label: [0x72, 0xFF]) == nil)
        #expect(KeyName(label: [0x72, 0x00]) == nil)
    }

    /// A refusal repeats what was said, so what was said must be short by then.
    @Test func longNamesAreNotRepeated() throws {
        let error = try expectError(.invalidRequest) { () throws(CustodyError) in
            try KeyName(String(repeating: "\u{7}", count: 1 << 20))
        }
        #expect(error.message.utf8.count < 256)
    }

    @Test func namesAreOrderedByBytes() {
        let names: [KeyName] = ["b", "B", "a.", "a", "a-"]
        #expect(names.sorted().map(\.description) == ["B", "a", "a-", "a.", "b"])
    }
}
