/// How a run goes.
struct Plan: Sendable {
    let duration: Duration
    let seed: UInt64
    let callers: Int
    /// Of callers, between two requests.
    let callerPause: Duration
    /// What is not to happen.
    let without: Set<String>

    /// Too short for chance: everything happens once, one thing right after the other.
    var isShort: Bool { duration < .seconds(60) }
    /// For how long the daemon must serve until a disturbance counts as over.
    var proof: Duration { isShort ? .milliseconds(150) : .seconds(1) }
    /// Between two things that happen, on average.
    var pause: Duration { isShort ? .milliseconds(20) : .milliseconds(1_500) }
    var hasLongRemoval: Bool { duration >= .seconds(120) }
    var longRemoval: Duration { duration >= .seconds(30 * 60) ? .seconds(300) : .seconds(20) }
    var longLife: Duration { max(.seconds(60), min(.seconds(600), duration / 5)) }
    /// Between two moments at which everything rests.
    var calmInterval: Duration { isShort ? .milliseconds(1_000) : .seconds(8) }
    /// The time to warm up in a life, before what grows counts.
    var warmUp: Duration { isShort ? .seconds(1) : .seconds(10) }
}
