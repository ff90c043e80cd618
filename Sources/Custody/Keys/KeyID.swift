import ByteEncoding
import SecureMemory

/// The identity of a key version, its object's CKA_ID: the version number (4 bytes, big-endian), then 12 random bytes.
///
/// The number gives versions an order on the token itself; the random bytes make sure that no id is ever used twice.
public struct KeyID: Sendable, Hashable, CustomStringConvertible {
    public static let length = 16

    private let high: UInt64
    private let low: UInt64

    /// nil if there are not exactly 16 bytes.
    public init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == Self.length else { return nil }
        var high: UInt64 = 0
        var low: UInt64 = 0
        for (index, byte) in bytes.enumerated() {
            if index < 8 { high = high << 8 | UInt64(byte) } else { low = low << 8 | UInt64(byte) }
        }
        self.high = high
        self.low = low
    }

    /// A fresh id for a version.
    public init(newFor version: UInt32) {
        let random = KernelRandom.bytes(count: Self.length - 4)
        func number(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
        high = UInt64(version) << 32 | number(random[..<4])
        low = number(random[4...])
    }

    /// The number of the version, from 1.
    public var version: UInt32 { UInt32(truncatingIfNeeded: high >> 32) }

    public var bytes: [UInt8] {
        var bytes: [UInt8] = []
        append(to: &bytes)
        return bytes
    }

    func append(to bytes: inout [UInt8]) {
        for shift in stride(from: 56, through: 0, by: -8) { bytes.append(UInt8(truncatingIfNeeded: high >> UInt64(shift))) }
        for shift in stride(from: 56, through: 0, by: -8) { bytes.append(UInt8(truncatingIfNeeded: low >> UInt64(shift))) }
    }

    /// 32 hexadecimal digits.
    public var description: String { hexadecimal(bytes) }
}
