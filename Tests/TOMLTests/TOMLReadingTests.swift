import Testing

@testable import TOML

/// What is read, and where it stands.
@Suite struct TOMLReadingTests {
    private func read(_ text: String) throws -> TOMLTable { try TOMLDocument.read(Array(text.utf8)) }

    private func value(_ text: String) throws -> TOMLValue? { try read("key = \(text)")["key"] }

    @Test(arguments: [
        ("\"\"", .string("")),
        ("\"a \\\"b\\\" \\\\ \\b\\t\\n\\f\\r\"", .string("a \"b\" \\ \u{8}\t\n\u{C}\r")),
        ("\"\\u00e9\\U0001F511é\"", .string("\u{E9}\u{1F511}é")),
        ("\"# [no] 'comment'\"", .string("# [no] 'comment'")),
        ("'C:\\n \"x\"'", .string("C:\\n \"x\"")),
        ("''", .string("")),
        ("\"a\\u2028\\u200Bb\"", .string("a\u{2028}\u{200B}b")),
        ("0", .integer(0)), ("-0", .integer(0)), ("+17", .integer(17)), ("1_000_000", .integer(1_000_000)),
        ("9223372036854775807", .integer(.max)), ("-9223372036854775808", .integer(.min)),
        ("0.5", .float(0.5)), ("-1.5e3", .float(-1_500)), ("1e06", .float(1_000_000)), ("1E-2", .float(0.01)), ("9_0.0_1", .float(90.01)),
        ("inf", .float(.infinity)), ("-inf", .float(-.infinity)), ("+inf", .float(.infinity)),
        ("true", .boolean(true)), ("false", .boolean(false)),
        ("[]", .array([])), ("[ 1, 'a', [true], ]", .array([.integer(1), .string("a"), .array([.boolean(true)])])),
        ("[ # one\n 1\n ,\r\n 2 # two\n]", .array([.integer(1), .integer(2)])),
    ] as [(String, TOMLValue)])
    func values(_ text: String, _ expected: TOMLValue) throws {
        #expect(try value(text) == expected)
        #expect(try value("\t\(text) # and a comment") == expected)
    }

    @Test func notANumberIsOne() throws {
        for text in ["nan", "+nan", "-nan"] { #expect(try value(text)?.float?.isNaN == true) }
    }

    @Test func tablesAreWhereTheyStand() throws {
        let document = try read("""
            first = 1
            # [comment]
            [token]
            uri = "u"

            [ token . 'environment' ]
            "A b" = "c"
            [[grant]]
            user = "x"
            context = { tenant = "t", "" = '' }
            [[grant]]
            [grant.context]
            a = "b"
            """)
        #expect(document.entries.map(\.key) == ["first", "token", "grant"])
        #expect(document.entries.map(\.line) == [1, 3, 8])
        let token = try #require(document["token"]?.table)
        #expect(token.line == 3)
        #expect(!token.isInline)
        #expect(token["uri"] == .string("u"))
        let environment = try #require(token["environment"]?.table)
        #expect(environment.line == 6)
        #expect(environment.entries.map { [$0.key, $0.value.string ?? "", "\($0.line)"] } == [["A b", "c", "7"]])
        let grants = try #require(document["grant"]?.array).compactMap(\.table)
        #expect(grants.map(\.line) == [8, 11])
        let context = try #require(grants[0]["context"]?.table)
        #expect(context.isInline)
        #expect(context.line == 10)
        #expect(context.entries.map(\.key) == ["tenant", ""])
        #expect(grants[1]["context"]?.table?["a"] == .string("b"))
    }

    @Test func aTableMayComeAfterOneWithinIt() throws {
        let document = try read("[a.b]\nx = 1\n[a]\ny = 2\n[[a.c]]\nz = 3\n[[a.c]]")
        let a = try #require(document.entry("a"))
        #expect(a.line == 3)
        #expect(a.value.table?.entries.map(\.key) == ["b", "y", "c"])
        #expect(a.value.table?["c"]?.array?.count == 2)
    }

    @Test(arguments: ["", "\n\r\n\t \n", "# only a comment", "#\u{E9}\u{3042}\u{1F511}\n"]) func emptyDocuments(_ text: String) throws {
        #expect(try read(text).entries.isEmpty)
    }
}
