import ByteEncoding
import Crypto

/// The hash chain over the lines of the audit log.
///
/// Every line ends with `,"hash":"<64 hexadecimal digits>"}` and a line feed. The hash is the SHA-256 of the hash of the
/// line before (32 bytes; zeros before the first line) and of all bytes of the line before `,"hash":"`. So one changed,
/// added, removed or moved byte breaks the chain at its line.
public enum AuditChain {
    public static let hashLength = 32
    /// What stands before the first line's bytes.
    public static let origin = [UInt8](repeating: 0, count: hashLength)
    static let hashField: [UInt8] = Array(",\"hash\":\"".utf8)
    static let lineEnd: [UInt8] = Array("\"}\n".utf8)
    /// How many bytes of a line follow what is hashed, the line feed included.
    static let suffixLength = hashField.count + 2 * hashLength + lineEnd.count

    /// The hash of a line.
    ///
    /// - Parameter content: Its bytes before `,"hash":"`.
    public static func hash(after previous: [UInt8], _ content: some Sequence<UInt8>) -> [UInt8] {
        var digest = SHA256()
        previous.withUnsafeBytes { digest.update(bufferPointer: $0) }
        if content.withContiguousStorageIfAvailable({ digest.update(bufferPointer: UnsafeRawBufferPointer($0)) }) == nil {
            digest.update(data: Array(content))
        }
        return Array(digest.finalize())
    }

    /// Takes a line apart.
    ///
    /// - Parameter line: With its line feed.
    /// - Returns: What is hashed, and the hash that the line claims; nil if the line does not end as it must.
    public static func split(_ line: ArraySlice<UInt8>) -> (content: ArraySlice<UInt8>, hash: [UInt8])? {
        guard line.count > suffixLength, line.suffix(lineEnd.count).elementsEqual(lineEnd) else { return nil }
        let content = line.dropLast(suffixLength)
        let rest = line.suffix(suffixLength)
        guard rest.prefix(hashField.count).elementsEqual(hashField) else { return nil }
        let digits = rest.dropFirst(hashField.count).dropLast(lineEnd.count)
        // Lower case only: a digit of another case is another byte, and no byte may change unseen.
        guard let hash = bytes(lowercaseHexadecimal: digits) else { return nil }
        return (content, hash)
    }

    /// nil unless it is an even number of digits 0-9 and a-f.
    static func bytes(lowercaseHexadecimal digits: some Collection<UInt8>) -> [UInt8]? {
        guard digits.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(digits.count / 2)
        var high: UInt8?
        for digit in digits {
            let value: UInt8
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = digit - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = digit - UInt8(ascii: "a") + 10
            default: return nil
            }
            if let first = high {
                bytes.append(first << 4 | value)
                high = nil
            } else {
                high = value
            }
        }
        return bytes
    }
}
