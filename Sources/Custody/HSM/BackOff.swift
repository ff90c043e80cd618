/// Pauses between attempts that fail: doubling, with up to a half more at random, so that many daemons do not ask a token
/// that comes back all at once.
struct BackOff {
    private var failures = 0
    private static let first = 100
    private static let longest = 30_000

    /// The pause after one more failure.
    ///
    /// - Parameter isLight: The attempt was no more than a look whether the token is there: that may be made every second,
    ///   so that a token that is put back is used at once.
    mutating func next(isLight: Bool) -> Duration {
        let base = min(isLight ? 600 : Self.longest * 2 / 3, Self.first << min(failures, 9))
        failures = min(failures + 1, 16)
        return .milliseconds(base + Int.random(in: 0...base / 2))
    }

    var hasFailures: Bool { failures > 0 }

    mutating func reset() { failures = 0 }
}
