import Testing

@testable import Custody

@Suite struct EncryptionContextTests {
    typealias Entry = EncryptionContext.Entry

    @Test func emptyContextIsEncodedAsItsCount() throws {
        #expect(EncryptionContext.empty.canonicalEncoding == [0, 0])
        #expect(try EncryptionContext([Entry]()) == .empty)
    }

    @Test func encodingIsCountThenLengthsAndBytes() throws {
        let context = try EncryptionContext(["b": "", "a": "xyz"])
        #expect(context.canonicalEncoding == [0, 2, 0, 1, 0x61, 0, 3] + Array("xyz".utf8) + [0, 1, 0x62, 0, 0])
    }

    @Test func orderOfTheEntriesDoesNotMatter() throws {
        let one = try EncryptionContext(["tenant": "acme", "purpose": "mek", "a": "1"])
        let other = try EncryptionContext(["a": "1", "purpose": "mek", "tenant": "acme"])
        #expect(one == other)
        #expect(one.canonicalEncoding == other.canonicalEncoding)
        #expect(one.entries.map(\.key) == ["a", "purpose", "tenant"])
    }

    @Test func sortedByBytesNotByTheAlphabet() throws {
        let context = try EncryptionContext(["ä": "", "z": "", "Z": "", "ab": "", "a": "", "\u{1F511}": "", "\u{FF21}": ""])
        // UTF-16 order would put the emoji before the full-width letter.
        #expect(context.entries.map(\.key) == ["Z", "a", "ab", "z", "ä", "\u{FF21}", "\u{1F511}"])
    }

    @Test func whereABorderLiesMatters() throws {
        let one = try EncryptionContext(["ab": "c"])
        #expect(one.canonicalEncoding != (try EncryptionContext(["a": "bc"])).canonicalEncoding)
        #expect(try EncryptionContext(["a": "", "b": "c"]).canonicalEncoding != one.canonicalEncoding)
    }

    @Test func composedAndDecomposedAreDifferent() throws {
        let (composed, decomposed) = ("caf\u{E9}", "cafe\u{301}")
        #expect(composed == decomposed, "Swift's own comparison does not tell them apart")
        let one = try EncryptionContext([composed: "x"])
        let other = try EncryptionContext([decomposed: "x"])
        #expect(one != other)
        #expect(Set([one, other]).count == 2)
        #expect(one.canonicalEncoding != other.canonicalEncoding)
        #expect(one[decomposed] == nil)
        #expect(one[composed] == "x")
        // Beside each other they are two entries, not one twice.
        #expect(try EncryptionContext([composed: "x", decomposed: "x"]).entries.count == 2)
        #expect(try EncryptionContext(["k": composed]) != (try EncryptionContext(["k": decomposed])))
    }

    @Test func limitsAreReachedButNotPassed() throws {
        let entries = (0..<CustodyLimits.contextEntries).map { Entry(key: "key\($0)", value: "v") }
        #expect(try EncryptionContext(entries).entries.count == 32)
        _ = try EncryptionContext([Entry(key: String(repeating: "é", count: 64), value: String(repeating: "é", count: 512))])
        let tooMany = try expectError(.invalidContext) { () throws(CustodyError) in
            try EncryptionContext(entries + [Entry(key: "one more", value: "")])
        }
        #expect(tooMany.message.contains("33 entries"))
    }

    @Test(arguments: [
        (Entry(key: "", value: "v"), "empty"),
        (Entry(key: String(repeating: "k", count: 129), value: "v"), "129 bytes; at most 128"),
        (Entry(key: String(repeating: "é", count: 65), value: "v"), "130 bytes; at most 128"),
        (Entry(key: "k", value: String(repeating: "v", count: 1_025)), "'k' has 1025 bytes; at most 1024"),
    ])
    func entryPastALimitIsRefused(_ entry: Entry, _ why: String) throws {
        let error = try expectError(.invalidContext) { () throws(CustodyError) in try EncryptionContext([entry]) }
        #expect(error.message.contains(why), "\(error.message)")
    }

    @Test func keyThatOccursTwiceIsRefused() throws {
        let entries = [Entry(key: "a", value: "1"), Entry(key: "b", value: "2"), Entry(key: "a", value: "1")]
        let error = try expectError(.invalidContext) { () throws(CustodyError) in try EncryptionContext(entries) }
        #expect(error.message.contains("'a' occurs twice"))
    }
}
