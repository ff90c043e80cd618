import CSystemShim

/// A key in memory that is kept out of swap and core files and zeroed when the last reference goes.
///
/// For keys that live for more than a call. What lives shorter is held in ``SecretBytes``.
public final class LockedBytes: Sendable, CustomStringConvertible, CustomReflectable {
    // Written in init only; after that every thread may read it, and deinit is the last to touch it.
    private nonisolated(unsafe) let memory: UnsafeMutableRawBufferPointer
    /// Whether the kernel keeps it out of swap. The limit on locked memory (RLIMIT_MEMLOCK) may forbid it.
    public let isLocked: Bool

    /// Copies the bytes. The caller's own are the caller's to wipe.
    public init(_ bytes: some Collection<UInt8>) {
        let count = bytes.count
        var locked: Int32 = 0
        let start = csystem_locked_alloc(max(count, 1), &locked)
        // As everywhere in Swift, a process that has no memory left ends.
        guard let start else { fatalError("no memory for a key of \(count) bytes") }
        memory = UnsafeMutableRawBufferPointer(start: start, count: count)
        isLocked = locked != 0
        memory.copyBytes(from: bytes)
    }

    /// New random bytes of the kernel's generator.
    public static func random(count: Int) -> LockedBytes {
        let bytes = LockedBytes(repeatElement(0, count: count))
        defer { withExtendedLifetime(bytes) {} }
        KernelRandom.fill(bytes.memory)
        return bytes
    }

    deinit { csystem_locked_free(memory.baseAddress, max(memory.count, 1), isLocked ? 1 : 0) }

    public var count: Int { memory.count }

    /// Lends the bytes for the time of a call.
    public func withBytes<R, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
        // The pointer does not keep its owner: inlined, this could be the last reference, and zeroed before the body.
        defer { withExtendedLifetime(self) {} }
        return try body(UnsafeRawBufferPointer(memory).bytes)
    }

    /// A copy of the bytes, which the caller has to wipe.
    public func exposed() -> [UInt8] { withExtendedLifetime(self) { Array(memory) } }

    /// Whether both hold the same bytes; takes the same time wherever they differ.
    public func isEqual(to other: LockedBytes) -> Bool {
        defer { withExtendedLifetime((self, other)) {} }
        guard count == other.count else { return false }
        var difference: UInt8 = 0
        for index in memory.indices { difference |= memory[index] ^ other.memory[index] }
        return difference == 0
    }

    public var description: String { "<\(count) secret bytes>" }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
