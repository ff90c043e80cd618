import Glibc
import SecureMemory

/// The nonce of one encryption with a version of a root key, for AES-GCM: 96 bits, made at the moment of use.
///
/// It is `random XOR (time || use)`:
///
/// | bytes | random | combined with |
/// |---|---|---|
/// | 0 to 7 | 64 bits from the kernel's generator | the time of day in nanoseconds since 1970 |
/// | 8 to 11 | 32 bits from it | how many uses of the version were counted before |
///
/// The random part alone is what NIST SP 800-38D section 8.2.2 asks for: 96 bits of a random bit generator, 2^32 uses of a key.
/// What it is combined with was fixed before it was drawn, so the result is as uniform as the random bits are, and the bound
/// stays what it is.
///
/// The other part is for the day on which the random bits are none. ``UsageLedger`` counts each use before it happens, on the disk,
/// so that no count comes twice to a daemon, however it ended before. With a generator that gives one value again, after a restart or
/// for ever, the nonces still differ for certain. Several daemons on one token, and machines that were resumed from one snapshot, have
/// the same counts: between them the time of use differs.
struct Nonce {
    let bytes: [UInt8]

    /// - Parameter use: How many uses of the version were counted before this one; below 2^32, the most that a version allows.
    init(use: UInt64) {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        self.init(
            random: KernelRandom.bytes(count: Envelope.nonceLength),
            time: UInt64(truncatingIfNeeded: time.tv_sec) &* 1_000_000_000 &+ UInt64(truncatingIfNeeded: time.tv_nsec), use: use)
    }

    init(random: [UInt8], time: UInt64, use: UInt64) {
        var bytes = random
        for index in 0..<8 { bytes[index] ^= UInt8(truncatingIfNeeded: time >> UInt64(56 - 8 * index)) }
        for index in 0..<4 { bytes[8 + index] ^= UInt8(truncatingIfNeeded: use >> UInt64(24 - 8 * index)) }
        self.bytes = bytes
    }
}
