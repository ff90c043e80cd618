/// A root key's name: 1 to 64 characters of `[A-Za-z0-9._-]`, the first one a letter or digit.
///
/// Names stand in configuration patterns, file names and logs, so nothing that any of them takes for syntax is let in. And
/// since only ASCII is let in, two names are equal if and only if their bytes are: a `String` of any text is equal to others
/// that are canonically equivalent, such as K and the KELVIN SIGN, and so can pass a rule that goes by bytes and find the key
/// all the same. Whatever comes from outside becomes a `KeyName` at the edge, and nothing behind it goes by a `String`.
public struct KeyName: Sendable, Hashable, Comparable, CustomStringConvertible {
    public let description: String

    /// - Throws: ``CustodyError`` with `invalidRequest`, saying what a good name is.
    public init(_ text: String) throws(CustodyError) {
        let length = text.utf8.count
        guard (1...CustodyLimits.keyName).contains(length) else {
            throw CustodyError(
                .invalidRequest, "a key name has \(length) bytes; it must have 1 to \(CustodyLimits.keyName)")
        }
        guard Self.isName(text.utf8) else {
            throw CustodyError(
                .invalidRequest,
                "'\(text)' is not a key name: 1 to \(CustodyLimits.keyName) characters of A-Z a-z 0-9 . _ -, beginning with a letter or digit")
        }
        description = text
    }

    /// The name that a CKA_LABEL is; nil for a label that is none.
    init?(label: [UInt8]) {
        guard (1...CustodyLimits.keyName).contains(label.count), Self.isName(label) else { return nil }
        description = String(decoding: label, as: UTF8.self)
    }

    /// Whether all of it is of the alphabet, and the first a letter or digit.
    private static func isName(_ bytes: some Collection<UInt8>) -> Bool {
        guard let first = bytes.first, isAlphanumeric(first) else { return false }
        return bytes.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-") }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"): true
        default: false
        }
    }

    /// By bytes.
    public static func < (a: KeyName, b: KeyName) -> Bool { a.description.utf8.lexicographicallyPrecedes(b.description.utf8) }
}
