/// The rule for a root key's name: 1 to 64 characters of `[A-Za-z0-9._-]`, the first one a letter or digit.
///
/// Names stand in configuration patterns, file names and logs, so nothing that any of them takes for syntax is let in.
public enum KeyName {
    /// - Throws: ``CustodyError`` with `invalidRequest`, saying what a good name is.
    public static func check(_ name: String) throws(CustodyError) {
        let bytes = Array(name.utf8)
        guard let first = bytes.first, bytes.count <= CustodyLimits.keyName, isAlphanumeric(first),
            bytes.allSatisfy({ isAlphanumeric($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-") })
        else {
            throw CustodyError(
                .invalidRequest,
                "'\(name)' is not a key name: 1 to \(CustodyLimits.keyName) characters of A-Z a-z 0-9 . _ -, beginning with a letter or digit")
        }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"): true
        default: false
        }
    }
}
