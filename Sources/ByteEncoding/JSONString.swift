/// Strings of JSON (RFC 8259 section 7): what needs it is escaped, everything else stands as it is.
///
/// Of concrete types and in runs of bytes: the audit log writes some twenty strings with every operation.
public enum JSONString {
    /// Appends the text between its quotes.
    public static func append(_ text: String, to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\""))
        var text = text
        text.withUTF8 { text in
            var run = 0
            for (index, byte) in text.enumerated() where length(of: byte) > 1 {
                bytes.append(contentsOf: text[run..<index])
                run = index + 1
                appendEscaped(byte, to: &bytes)
            }
            bytes.append(contentsOf: text[run...])
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private static func appendEscaped(_ byte: UInt8, to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\\"))
        guard length(of: byte) == 6 else { return bytes.append(byte) }
        bytes.append(contentsOf: [UInt8(ascii: "u"), UInt8(ascii: "0"), UInt8(ascii: "0")])
        bytes.appendHexadecimal(CollectionOfOne(byte))
    }

    /// How many bytes ``append(_:to:)`` makes of a text, its quotes aside: one to six of each.
    public static func length(of text: String) -> Int {
        var text = text
        return text.withUTF8 { length(of: $0) }
    }

    /// The same of a text's bytes.
    public static func length(of text: ArraySlice<UInt8>) -> Int { text.withUnsafeBufferPointer { length(of: $0) } }

    private static func length(of text: UnsafeBufferPointer<UInt8>) -> Int { text.reduce(0) { $0 + length(of: $1) } }

    @inline(__always)
    private static func length(of byte: UInt8) -> Int {
        byte < 0x20 || byte == 0x7F ? 6 : byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") ? 2 : 1
    }
}
