/// A pattern in which `*` stands for any run of bytes; everything else stands for itself.
public struct Pattern: Sendable, Hashable, CustomStringConvertible {
    public let description: String
    private let bytes: [UInt8]
    private static let star = UInt8(ascii: "*")

    public init(_ text: String) {
        description = text
        bytes = Array(text.utf8)
    }

    /// Whether it stands for every text.
    public var matchesEverything: Bool { !bytes.isEmpty && bytes.allSatisfy { $0 == Self.star } }

    /// Whether it stands for nothing but itself.
    public var isLiteral: Bool { !bytes.contains(Self.star) }

    public func matches(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { text in
            // Linear in practice: on a mismatch only the latest star takes one byte more.
            var (patternIndex, textIndex) = (0, 0)
            var retry: (pattern: Int, text: Int)?
            while textIndex < text.count {
                if patternIndex < bytes.count, bytes[patternIndex] == Self.star {
                    retry = (patternIndex + 1, textIndex)
                    patternIndex += 1
                } else if patternIndex < bytes.count, bytes[patternIndex] == text[textIndex] {
                    patternIndex += 1
                    textIndex += 1
                } else if let (pattern, start) = retry {
                    retry = (pattern, start + 1)
                    (patternIndex, textIndex) = (pattern, start + 1)
                } else {
                    return false
                }
            }
            return bytes[patternIndex...].allSatisfy { $0 == Self.star }
        }
    }
}
