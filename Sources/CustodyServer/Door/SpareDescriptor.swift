import Glibc

/// A descriptor that is kept to be given up: when no other is left, a connection can still be accepted, told why, and closed,
/// rather than wait unheard.
struct SpareDescriptor: ~Copyable {
    private var descriptor: Int32

    init() { descriptor = Self.take() }

    deinit { if descriptor >= 0 { close(descriptor) } }

    private static func take() -> Int32 { Glibc.open("/dev/null", O_RDONLY | O_CLOEXEC) }

    /// Gives it up for the time of the body.
    mutating func lend(_ body: () -> Void) {
        if descriptor >= 0 { close(descriptor) }
        body()
        descriptor = Self.take()
    }

    /// Whether the next connection would find a descriptor below this number.
    mutating func isThereOne(below number: Int) -> Bool {
        if descriptor < 0 { descriptor = Self.take() }
        let other = Self.take()
        guard other >= 0 else { return false }
        close(other)
        return descriptor >= 0 && other < number
    }
}
