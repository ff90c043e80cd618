/// Reads JSON (RFC 8259) without building it: goes over a value, says where it ends, and refuses what is none.
///
/// Our own, since a general decoder takes many times as long as the hash of the line.
struct JSONScanner {
    /// Deeper than any line of the audit log; a limit, so that no input exhausts the stack.
    private static let deepest = 16

    let bytes: ArraySlice<UInt8>
    private(set) var position: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
    }

    var isAtEnd: Bool { position == bytes.endIndex }

    private var next: UInt8? { position < bytes.endIndex ? bytes[position] : nil }

    /// Goes over an object and hands out where each member's name and value are, quotes included.
    ///
    /// - Returns: False if it is not an object.
    mutating func object(_ member: (_ name: ArraySlice<UInt8>, _ value: ArraySlice<UInt8>) -> Void) -> Bool { object(0, member) }

    private mutating func object(_ depth: Int, _ member: (ArraySlice<UInt8>, ArraySlice<UInt8>) -> Void) -> Bool {
        list(UInt8(ascii: "{"), UInt8(ascii: "}")) { scanner in
            let name = scanner.position
            guard scanner.string() else { return false }
            let nameEnd = scanner.position
            scanner.skipSpace()
            guard scanner.skip(UInt8(ascii: ":")) else { return false }
            scanner.skipSpace()
            let value = scanner.position
            guard scanner.value(depth + 1) else { return false }
            member(scanner.bytes[name..<nameEnd], scanner.bytes[value..<scanner.position])
            return true
        }
    }

    private mutating func list(_ opening: UInt8, _ closing: UInt8, _ element: (inout JSONScanner) -> Bool) -> Bool {
        guard skip(opening) else { return false }
        skipSpace()
        if skip(closing) { return true }
        while true {
            skipSpace()
            guard element(&self) else { return false }
            skipSpace()
            if skip(closing) { return true }
            guard skip(UInt8(ascii: ",")) else { return false }
        }
    }

    private mutating func value(_ depth: Int) -> Bool {
        guard depth <= Self.deepest, let first = next else { return false }
        switch first {
        case UInt8(ascii: "\""): return string()
        case UInt8(ascii: "{"): return object(depth) { _, _ in }
        case UInt8(ascii: "["): return list(UInt8(ascii: "["), UInt8(ascii: "]")) { $0.value(depth + 1) }
        case UInt8(ascii: "t"): return word("true")
        case UInt8(ascii: "f"): return word("false")
        case UInt8(ascii: "n"): return word("null")
        default: return number()
        }
    }

    private mutating func string() -> Bool {
        guard skip(UInt8(ascii: "\"")) else { return false }
        while let byte = next {
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return true
            case UInt8(ascii: "\\"):
                guard let escaped = next else { return false }
                position += 1
                switch escaped {
                case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
                    UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
                    break
                case UInt8(ascii: "u"):
                    let digits = bytes[position..<min(position + 4, bytes.endIndex)]
                    guard digits.count == 4, digits.allSatisfy({ Self.isHexadecimal($0) }) else { return false }
                    position += 4
                default: return false
                }
            case 0..<0x20: return false
            default: break
            }
        }
        return false
    }

    private mutating func number() -> Bool {
        _ = skip(UInt8(ascii: "-"))
        if !skip(UInt8(ascii: "0")) { guard digits() else { return false } }
        if skip(UInt8(ascii: ".")) { guard digits() else { return false } }
        if skip(UInt8(ascii: "e")) || skip(UInt8(ascii: "E")) {
            if !skip(UInt8(ascii: "+")) { _ = skip(UInt8(ascii: "-")) }
            return digits()
        }
        return true
    }

    /// At least one.
    private mutating func digits() -> Bool {
        let start = position
        while let byte = next, Self.isDigit(byte) { position += 1 }
        return position > start
    }

    private mutating func word(_ text: StaticString) -> Bool {
        let isThere = text.withUTF8Buffer { bytes[position...].starts(with: $0) }
        if isThere { position += text.utf8CodeUnitCount }
        return isThere
    }

    private mutating func skip(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        position += 1
        return true
    }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x09 || byte == 0x0D || byte == 0x0A { position += 1 }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        isDigit(byte) || (byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "f"))
    }
}
