import Foundation
import SecureMemory

/// Takes one string out of a JSON object without decoding it with the rest: a decoder would leave copies of it.
enum SecretMember {
    /// What a JSON object held.
    struct Split {
        /// The member's text, which the caller has to wipe.
        let value: [UInt8]
        /// The object with an empty string in its place.
        let rest: Data
    }

    /// - Returns: nil if the object has no string of this name at its top, or is no object. Whether the rest is sound is left
    ///   to its decoder.
    static func split(_ name: String, outOf json: SecretBytes) -> Split? {
        let bytes = json.exposed()
        defer { bytes.zeroize() }
        var position = 0
        var depth = 0
        // The string before a colon at depth 1 is a member's name.
        var last: Range<Int>?
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
            case UInt8(ascii: "\""):
                guard let end = endOfString(bytes, position) else { return nil }
                last = position + 1..<end
                position = end
            case UInt8(ascii: ":"):
                guard depth == 1, let found = last, bytes[found].elementsEqual(name.utf8) else { break }
                position += 1
                while position < bytes.count, isSpace(bytes[position]) { position += 1 }
                guard position < bytes.count, bytes[position] == UInt8(ascii: "\""), let end = endOfString(bytes, position) else {
                    return nil
                }
                var rest = Data(bytes[...position])
                rest.append(contentsOf: bytes[end...])
                return Split(value: unescaped(bytes[(position + 1)..<end]), rest: rest)
            default: break
            }
            position += 1
        }
        return nil
    }

    private static func endOfString(_ bytes: [UInt8], _ start: Int) -> Int? {
        var position = start + 1
        while position < bytes.count, bytes[position] != UInt8(ascii: "\"") {
            position += bytes[position] == UInt8(ascii: "\\") ? 2 : 1
        }
        return position < bytes.count ? position : nil
    }

    /// Base64 has one character that some encoders escape: the slash. Any other escape makes it invalid base64.
    private static func unescaped(_ string: ArraySlice<UInt8>) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: string.count) { buffer, count in
            for index in string.indices {
                let isEscape = string[index] == UInt8(ascii: "\\") && index + 1 < string.endIndex && string[index + 1] == UInt8(ascii: "/")
                if isEscape { continue }
                buffer[count] = string[index]
                count += 1
            }
        }
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
}
