import NIOCore
import SecureMemory

/// Base64 with padding, from and into memory that can be wiped: Foundation's goes through strings and `Data`.
enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    private static let padding = UInt8(ascii: "=")

    static func encodedLength(_ count: Int) -> Int { (count + 2) / 3 * 4 }

    static func encode(_ bytes: RawSpan, into buffer: inout ByteBuffer) {
        for start in stride(from: 0, to: bytes.byteCount, by: 3) {
            let length = min(3, bytes.byteCount - start)
            var group: UInt32 = 0
            for offset in 0..<3 {
                let byte = offset < length ? bytes.unsafeLoad(fromByteOffset: start + offset, as: UInt8.self) : 0
                group = group << 8 | UInt32(byte)
            }
            for digit in 0..<4 {
                buffer.writeInteger(digit <= length ? alphabet[Int(group >> (18 - 6 * UInt32(digit)) & 63)] : padding)
            }
        }
    }

    /// The bytes, which the caller has to wipe; nil for what is not base64.
    static func decode(_ digits: some Collection<UInt8>) -> [UInt8]? {
        guard digits.count.isMultiple(of: 4) else { return nil }
        var isValid = true
        let bytes = [UInt8](unsafeUninitializedCapacity: digits.count / 4 * 3) { buffer, count in
            var group: UInt32 = 0, inGroup = 0, padded = 0
            for digit in digits {
                let value = digit == padding ? 0 : value(of: digit)
                guard let value, digit == padding || padded == 0 else { isValid = false; break }
                padded += digit == padding ? 1 : 0
                group = group << 6 | UInt32(value)
                inGroup += 1
                guard inGroup == 4 else { continue }
                guard padded <= 2 else { isValid = false; break }
                for index in 0..<(3 - padded) {
                    buffer[count] = UInt8(truncatingIfNeeded: group >> (16 - 8 * UInt32(index)))
                    count += 1
                }
                group = 0
                inGroup = 0
                // Nothing may follow a padded group.
                if padded > 0 { padded = 3 }
            }
        }
        guard isValid else {
            bytes.zeroize()
            return nil
        }
        return bytes
    }

    private static func value(of digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): digit - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): digit - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
