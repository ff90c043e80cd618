import Testing

@testable import TOML

/// However much there is of it: nothing that grows with a document grows on the stack.
@Suite struct TOMLBoundTests {
    private func refusal(_ text: String) -> TOMLError? {
        do throws(TOMLError) {
            _ = try TOMLDocument.read(Array(text.utf8))
            return nil
        } catch {
            return error
        }
    }

    private static func many(_ piece: String, _ count: Int) -> String { String(repeating: piece, count: count) }

    private static func numbered(_ beginning: String, _ end: String) -> String {
        (0..<60_000).reduce(into: "") { $0 += "\(beginning)\($1)\(end)" }
    }

    private static let tooMuch: [(String, String)] = [
        (many("a.", 200_000) + "a = 1", "keys with dots are not read"),
        ("[" + many("a.", 200_000) + "a]", "a header has at most 8 names"),
        ("[[" + many("a.", 200_000) + "a]]", "a header has at most 8 names"),
        ("a = " + many("[", 500_000), "nest at most 8 deep"),
        ("a = " + many("[", 300_000) + many("]", 300_000), "nest at most 8 deep"),
        ("a = " + many("{a=", 200_000) + "1" + many("}", 200_000), "nest at most 8 deep"),
        ("a = " + many("[{a=", 200_000), "nest at most 8 deep"),
        ("a = " + many("[\n", 400_000), "nest at most 8 deep"),
        ("a = " + many("9", 500_000), "more than 64 characters"),
        ("a = \"" + many("\\", 500_000), "a \" is missing"),
        (many("[", 500_000), "a header names its table"),
        (many("#", 1_048_577), "the file has more than 1048576 bytes"),
        (many("a", 1_048_576), "'=' is expected behind the key 'aaa"),
    ]

    @Test(arguments: tooMuch)
    func tooMuchIsRefused(_ text: String, _ message: String) throws {
        let error = try #require(refusal(text))
        #expect(error.message.contains(message), "\(error)")
        #expect(error.line <= 9 && error.message.utf8.count < 300)
    }

    @Test func theMostThatIsAllowedIsRead() throws {
        let names = "a.b.c.d.e.f.g.h"
        for text in ["[\(names)]", "[[\(names)]]", "a = [[[[[[[[1]]]]]]]]", "a = {a={a={a={a={a={a={a={}}}}}}}}", Self.many("#", 1_048_576)] {
            #expect(refusal(text) == nil, "\(text.prefix(40))")
        }
        for text in ["[\(names).i]", "a = [[[[[[[[[1]]]]]]]]]", "a = {a=[{a=[{a=[{a=[{}]}]}]}]}"] {
            #expect(refusal(text) != nil, "\(text)")
        }
    }

    private static let much: [String] = [
        many("[[grant]]\n", 100_000),
        numbered("key-", " = 1\n"),
        numbered("[table-", "]\n"),
        "a = {" + numbered("k", " = 1,") + "end = 1}",
        "a = [" + many("1,", 500_000) + "]",
        "a = \"" + many("\\u00e9", 160_000) + "\"",
        "a = [" + many("\n", 500_000) + many(" ", 500_000) + "]",
        many("\r\n", 500_000),
    ]

    /// Were any of it quadratic, this would not end.
    @Test(arguments: much)
    func muchIsRead(_ text: String) throws { #expect(refusal(text) == nil) }
}
