/// Bytes that should be text and are not.
public struct NotUTF8: Error, Sendable, Hashable, CustomStringConvertible {
    /// Of the first byte that belongs to no character, counted from 0.
    public let offset: Int
    public let byte: UInt8

    package init(offset: Int, byte: UInt8) {
        self.offset = offset
        self.byte = byte
    }

    public var description: String {
        "it is not UTF-8 text: its byte \(offset + 1), 0x\(hexadecimal([byte])), belongs to no character"
    }
}

extension NotUTF8 {
    /// nil if the bytes are text. Makes no string of them, so of a secret no copy stays behind.
    public static func first(in bytes: some Collection<UInt8>) -> NotUTF8? {
        var parser = Unicode.UTF8.ForwardParser()
        var rest = bytes.makeIterator()
        var offset = 0
        while true {
            switch parser.parseScalar(from: &rest) {
            case .valid(let character): offset += character.count
            case .emptyInput: return nil
            case .error: return NotUTF8(offset: offset, byte: bytes.dropFirst(offset).first ?? 0)
            }
        }
    }
}

extension String {
    /// The text that bytes are in UTF-8, and no other. `String(decoding:as:)` puts a replacement character in the place of what is
    /// none, and so makes one text of different bytes: what names or binds something must not be read with it.
    public init(strictUTF8 bytes: some Collection<UInt8>) throws(NotUTF8) {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw NotUTF8.first(in: bytes) ?? NotUTF8(offset: 0, byte: 0) }
        self = text
    }
}
