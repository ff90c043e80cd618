import Foundation

/// base64url without padding (RFC 4648 section 5), in its one canonical form.
public enum Base64URL {
    public static func encode(_ bytes: [UInt8]) -> String {
        Data(bytes).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").trimmingSuffix("=")
    }

    /// nil for anything but the text that ``encode(_:)`` gives for some bytes: bits behind the last byte must be zero, or
    /// several texts would stand for the same bytes.
    public static func decode(_ text: some StringProtocol) -> [UInt8]? {
        let isAlphabet = text.utf8.allSatisfy { byte in
            (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
                || byte == 0x2D || byte == 0x5F
        }
        guard isAlphabet else { return nil }
        var base64 = String(text).replacing("-", with: "+").replacing("_", with: "/")
        base64 += String(repeating: "=", count: (4 - base64.utf8.count % 4) % 4)
        guard let data = Data(base64Encoded: base64) else { return nil }
        let bytes = Array(data)
        return encode(bytes).utf8.elementsEqual(text.utf8) ? bytes : nil
    }
}

extension String {
    fileprivate func trimmingSuffix(_ character: Character) -> String {
        var text = self
        while text.last == character { text.removeLast() }
        return text
    }
}
