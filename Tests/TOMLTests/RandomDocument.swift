import TestSupport

/// Makes documents of the subset, some of which say a thing twice.
struct RandomDocument {
    private(set) var text = ""
    private var source: SeededGenerator

    init(seed: UInt64) {
        source = SeededGenerator(seed: seed)
        for _ in 0..<number(12) { line() }
    }

    /// The document's bytes with a few of them changed, removed or doubled.
    mutating func damaged() -> [UInt8] {
        var bytes = Array(text.utf8)
        for _ in 0...number(2) where !bytes.isEmpty {
            let index = number(bytes.count - 1)
            switch number(4) {
            case 0: bytes[index] = UInt8(number(255))
            case 1: bytes.remove(at: index)
            case 2: bytes.insert(contentsOf: bytes[index...].prefix(number(6)), at: index)
            default: bytes.insert(pick(Array("[]{}=,.\"'\\#\n\r\t 0_-+eE:nit".utf8)), at: index)
            }
        }
        return bytes
    }

    private mutating func number(_ most: Int) -> Int { Int.random(in: 0...most, using: &source) }
    private mutating func pick<T>(_ choices: [T]) -> T { choices[number(choices.count - 1)] }
    private mutating func blank() -> String { pick(["", "", " ", "\t", "  "]) }
    private mutating func lineEnd() -> String { pick(["\n", "\n", "\r\n", " # é [x] = \"\n"]) }

    private mutating func line() {
        switch number(9) {
        case 0: text += blank() + lineEnd()
        case 1, 2:
            let (begin, end) = pick([("[", "]"), ("[[", "]]")])
            let names = (0...number(2)).map { _ in blank() + key() + blank() }
            text += blank() + begin + names.joined(separator: ".") + end + blank() + lineEnd()
        default: text += blank() + key() + blank() + "=" + blank() + value(0) + blank() + lineEnd()
        }
    }

    private mutating func key() -> String {
        pick(["a", "b", "c", "key", "A-1_2", "1", "true", "\"a\"", "'b'", "\"\"", "\"a.b\"", "\"\\u0041\"", "'\u{E9}'", "\"\u{E9}\\n\""])
    }

    private mutating func value(_ depth: Int) -> String {
        switch number(depth < 3 ? 9 : 7) {
        case 0, 1: return basicString()
        case 2: return "'" + pick(["", "x", "\\", "\"", "a # b", "\u{1F511}", "\u{3042}"]) + "'"
        case 3: return pick(["true", "false"])
        case 4, 5: return pick(["", "+", "-"]) + pick(["0", "7", "1_000", "9223372036854775807", "\(number(1_000_000))"])
        case 6:
            let digits = "\(number(9)).\(number(1_000))"
            return pick(["", "+", "-"]) + pick(["inf", "nan", digits, digits + "e-\(number(300))", "1\(digits)E+0\(number(9))", "5e0\(number(30))", "3_0.1_5"])
        case 7, 8: return array(depth)
        default: return inlineTable(depth)
        }
    }

    private mutating func basicString() -> String {
        let pieces = (0..<number(4)).map { _ in
            pick(["a", " ", "'", "\u{E9}", "\u{10FFFF}", "\\n", "\\t", "\\\\", "\\\"", "\\b\\f\\r", "\\u00e9", "\\u202E", "\\u200B", "\\u2028", "\\U0001F511", "\\u0007", "#"])
        }
        return "\"" + pieces.joined() + "\""
    }

    private mutating func array(_ depth: Int) -> String {
        var array = "[" + pick(["", " ", "\n", " # c ]\n"])
        let count = number(3)
        for index in 0..<count {
            array += value(depth + 1) + pick(["", " ", "\r\n", "\n\t# ]\n"])
            if index < count - 1 || number(1) == 0 { array += "," + pick(["", " ", "\n"]) }
        }
        return array + "]"
    }

    private mutating func inlineTable(_ depth: Int) -> String {
        let pairs = (0..<number(3)).map { _ in blank() + key() + blank() + "=" + blank() + value(depth + 1) + blank() }
        return "{" + blank() + pairs.joined(separator: ",") + "}"
    }
}
