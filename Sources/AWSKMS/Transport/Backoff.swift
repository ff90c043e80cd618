/// How long to wait before another try: exponential, with full jitter, so that clients that failed together do not come
/// back together.
struct Backoff: Sendable {
    static let attempts = 6
    static let base = Duration.milliseconds(50)
    static let cap = Duration.seconds(2)

    /// - Parameters:
    ///   - attempt: The one that failed; the first is 1.
    ///   - random: From 0 to 1.
    static func pause(after attempt: Int, random: Double = .random(in: 0...1)) -> Duration {
        // Beyond that many doublings the cap holds anyway, and the shift stays in range.
        min(cap, base * (1 << min(max(attempt, 1) - 1, 16))) * min(max(random, 0), 1)
    }
}
