import CSystemShim

/// Bytes that must not outlive their use: a PIN, a plaintext, a data key.
///
/// They are zeroed when the last reference goes. Printing one shows its length only, so that none gets into a log or
/// an error by accident; whoever needs the bytes says so with ``withBytes(_:)`` or ``exposed()``.
public final class SecretBytes: Sendable, CustomStringConvertible, CustomReflectable {
    private let storage: [UInt8]

    /// Takes the bytes over. Copies that the caller still holds are the caller's to wipe.
    public init(_ bytes: consuming [UInt8]) {
        self.storage = bytes
    }

    deinit {
        storage.withUnsafeBytes { csystem_zeroize($0.baseAddress, $0.count) }
    }

    public var count: Int { storage.count }
    public var isEmpty: Bool { storage.isEmpty }

    /// Lends the bytes for the time of a call.
    public func withBytes<R, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
        let bytes = storage
        let span = bytes.span
        return try body(span.bytes)
    }

    /// The bytes as an array that shares this secret's storage: it is zeroed together with it, so it must not be
    /// kept longer than the secret.
    public func exposed() -> [UInt8] { storage }

    /// Whether both hold the same bytes; takes the same time wherever they differ.
    public func isEqual(to other: SecretBytes) -> Bool {
        guard count == other.count else { return false }
        var difference: UInt8 = 0
        for index in storage.indices { difference |= storage[index] ^ other.storage[index] }
        return difference == 0
    }

    public var description: String { "<\(count) secret bytes>" }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

extension [UInt8] {
    /// Overwrites the array's storage with zeros, also where other arrays share it.
    public func zeroize() {
        withUnsafeBytes { csystem_zeroize($0.baseAddress, $0.count) }
    }
}
