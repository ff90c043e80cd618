import CSystemShim

/// Bytes that must not outlive their use: a PIN, a plaintext, a data key.
///
/// They are zeroed when the last reference goes. Printing one shows its length only, so that none gets into a log or
/// an error by accident; whoever needs the bytes says so with ``withBytes(_:)`` or ``exposed()``.
public final class SecretBytes: Sendable, CustomStringConvertible, CustomReflectable {
    /// Never shared with an array of anybody else's, since it is overwritten in the end.
    private let storage: [UInt8]

    /// Copies the bytes. The caller's own are the caller's to wipe.
    public init(_ bytes: some Collection<UInt8>) {
        storage = [UInt8](unsafeUninitializedCapacity: bytes.count) { buffer, count in
            count = buffer.initialize(fromContentsOf: bytes)
        }
    }

    deinit {
        storage.withUnsafeBytes { csystem_zeroize($0.baseAddress, $0.count) }
    }

    public var count: Int { storage.count }
    public var isEmpty: Bool { storage.isEmpty }

    /// Lends the bytes for the time of a call.
    public func withBytes<R, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
        // The array that is lent shares its storage with the one that deinit zeroes, which must not happen before the end.
        defer { withExtendedLifetime(self) {} }
        let bytes = storage
        let span = bytes.span
        return try body(span.bytes)
    }

    /// A copy of the bytes, which the caller has to wipe.
    public func exposed() -> [UInt8] {
        defer { withExtendedLifetime(self) {} }
        return [UInt8](unsafeUninitializedCapacity: storage.count) { buffer, count in
            count = buffer.initialize(fromContentsOf: storage)
        }
    }

    /// Whether both hold the same bytes; takes the same time wherever they differ.
    public func isEqual(to other: SecretBytes) -> Bool {
        defer { withExtendedLifetime((self, other)) {} }
        guard count == other.count else { return false }
        var difference: UInt8 = 0
        for index in storage.indices { difference |= storage[index] ^ other.storage[index] }
        return difference == 0
    }

    public var description: String { "<\(count) secret bytes>" }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

extension [UInt8] {
    /// Overwrites the array's storage with zeros, also where copies of the array share it: only for the last user of the
    /// bytes.
    public func zeroize() {
        withUnsafeBytes { csystem_zeroize($0.baseAddress, $0.count) }
    }
}
