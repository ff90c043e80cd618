import ByteEncoding

/// 16 bytes that name a thing for ever: a master key (made of it), or an operation on one (random). Written as 32 hexadecimal
/// digits.
public struct Identifier: Sendable, Hashable, CustomStringConvertible {
    public static let length = 16

    public let bytes: [UInt8]

    /// A new one.
    public init() {
        var generator = SystemRandomNumberGenerator()
        bytes = (0..<Self.length).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    }

    /// Of exactly 16 bytes.
    init(derived bytes: [UInt8]) { self.bytes = bytes }

    /// nil unless there are 16 bytes.
    public init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == Self.length else { return nil }
        self.bytes = Array(bytes)
    }

    /// What ``description`` gives; nil for anything else.
    public init?(hexadecimal text: String) {
        let digits = Array(text.utf8)
        guard digits.count == 2 * Self.length else { return nil }
        let bytes = stride(from: 0, to: digits.count, by: 2).compactMap { index in
            UInt8(String(decoding: digits[index...(index + 1)], as: UTF8.self), radix: 16)
        }
        self.init(bytes)
        guard "\(self)".utf8.elementsEqual(text.lowercased().utf8) else { return nil }
    }

    public var description: String { hexadecimal(bytes) }
}
