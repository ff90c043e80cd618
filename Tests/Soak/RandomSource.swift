import Glibc

/// A source of random numbers that a seed repeats (SplitMix64). Every task has one of its own, so that none depends on how
/// the others are scheduled.
struct RandomSource: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    /// A part of the run with a sequence of its own.
    init(seed: UInt64, part: String) {
        // FNV-1a: the same in every process, as Hasher is not.
        self.init(seed: part.utf8.reduce(seed ^ 0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 })
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// True in one of so many cases.
    mutating func oneIn(_ count: Int) -> Bool { Int.random(in: 0..<count, using: &self) == 0 }

    mutating func duration(_ milliseconds: ClosedRange<Int>) -> Duration { .milliseconds(Int.random(in: milliseconds, using: &self)) }

    /// Of an exponential distribution, as the pauses between things that have nothing to do with each other.
    mutating func pause(mean: Duration) -> Duration {
        let uniform = Double.random(in: 0.0001...1, using: &self)
        return min(mean * -log(uniform), mean * 5)
    }

    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &self) } }

    mutating func element<T>(_ elements: [T]) -> T { elements[Int.random(in: 0..<elements.count, using: &self)] }
}
