/// Pauses between attempts that fail: from 100 ms to 30 s, each a quarter longer than the one before, so that it is always
/// about a quarter of the time that has passed: a short fault is over soon after its end, a long one costs few attempts. Up
/// to a half more at random keeps many daemons from asking a token that comes back all at once.
struct BackOff {
    static let shortest = 100
    static let longest = 30_000
    /// For attempts that were no more than a look whether the token is there: it may be put back at any time.
    static let longestLook = 900

    private var base = 0

    /// The pause after one more failure.
    ///
    /// - Parameter isLight: The attempt was no more than a look whether the token is there.
    mutating func next(isLight: Bool) -> Duration {
        base = min(max(Self.shortest, base + base / 4), Self.longest * 2 / 3)
        let chosen = isLight ? min(base, Self.longestLook * 2 / 3) : base
        return .milliseconds(chosen + Int.random(in: 0...chosen / 2))
    }

    var hasFailures: Bool { base > 0 }

    mutating func reset() { base = 0 }
}
