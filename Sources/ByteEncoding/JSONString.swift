/// Strings of JSON (RFC 8259 section 7): what needs it is escaped, everything else stands as it is.
public enum JSONString {
    /// Appends the text between its quotes.
    public static func append(_ text: some Collection<UInt8>, to bytes: inout [UInt8]) {
        let digits = StaticString("0123456789abcdef")
        bytes.append(UInt8(ascii: "\""))
        for byte in text {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0..<0x20, 0x7F:
                bytes.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "u"), UInt8(ascii: "0"), UInt8(ascii: "0")])
                digits.withUTF8Buffer {
                    bytes.append($0[Int(byte >> 4)])
                    bytes.append($0[Int(byte & 15)])
                }
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    /// How many bytes ``append(_:to:)`` makes of a text, its quotes aside: one to six of each.
    public static func length(of text: some Collection<UInt8>) -> Int {
        text.withContiguousStorageIfAvailable { count($0) } ?? count(text)
    }

    private static func count(_ text: some Collection<UInt8>) -> Int {
        var length = 0
        for byte in text {
            length += byte < 0x20 || byte == 0x7F ? 6 : byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") ? 2 : 1
        }
        return length
    }
}
