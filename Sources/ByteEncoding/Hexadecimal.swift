/// Lower-case hexadecimal digits of the bytes.
@inlinable
public func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    var text: [UInt8] = []
    text.appendHexadecimal(bytes)
    return String(decoding: text, as: UTF8.self)
}

extension [UInt8] {
    @inlinable
    static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }

    /// Appends the lower-case hexadecimal digits of the bytes.
    @inlinable
    public mutating func appendHexadecimal(_ bytes: some Sequence<UInt8>) {
        for byte in bytes {
            append(Self.digit(byte >> 4))
            append(Self.digit(byte & 15))
        }
    }
}
