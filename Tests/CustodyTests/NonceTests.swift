import SecureMemory
import Testing

@testable import Custody

@Suite struct NonceTests {
    private static let time: UInt64 = 1_800_000_000_123_456_789

    private func word(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }

    /// A generator that gives the same value for ever, or the same few values, at one moment.
    @Test(arguments: [1, 3]) func repeatedRandomValuesGiveDistinctNonces(_ values: Int) {
        let random = (0..<values).map { [UInt8](repeating: UInt8($0 * 85), count: 12) }
        let nonces = (0..<200_000).map { Nonce(random: random[$0 % values], time: Self.time, use: UInt64($0)).bytes }
        #expect(Set(nonces).count == nonces.count)
    }

    /// Two daemons, or two machines of one snapshot, with the same count: the time of use differs.
    @Test func theSameUseAtAnotherTimeHasAnotherNonce() {
        let random = [UInt8](repeating: 7, count: 12)
        let nonces = (0..<100_000).map { Nonce(random: random, time: Self.time + UInt64($0), use: 5).bytes }
        #expect(Set(nonces).count == nonces.count)
    }

    /// All 96 bits are random: what is combined with them takes none away.
    @Test func theRandomPartIsWhole() {
        for use in [0, 1, 255, 256, 1 << 31, (1 << 32) - 1] as [UInt64] {
            let random = KernelRandom.bytes(count: 12)
            let nonce = Nonce(random: random, time: Self.time, use: use).bytes
            #expect(nonce.count == 12)
            #expect(word(nonce[..<8]) ^ word(random[..<8]) == Self.time)
            #expect(word(nonce[8...]) ^ word(random[8...]) == use)
        }
    }

    @Test func eachIsDrawnAnew() {
        #expect(Set((0..<10_000).map { _ in Nonce(use: 0).bytes }).count == 10_000)
        #expect(Set((0..<10_000).map { _ in KernelRandom.bytes(count: 16) }).count == 10_000)
        #expect(KernelRandom.bytes(count: 0).isEmpty)
        #expect(KernelRandom.bytes(count: 100_000).count == 100_000)
    }
}
