import Synchronization

/// What the threads that call the token note of how it does.
final class HealthRecord: Sendable {
    private struct State {
        var health = TokenHealth()
        var latestSuccess: ContinuousClock.Instant?
        var trouble: (text: String, at: ContinuousClock.Instant)?
    }

    /// For how long a refusal of the token that otherwise works counts.
    private static let troubleLife = Duration.seconds(10)

    private let state = Mutex(State())

    var health: TokenHealth { state.withLock { $0.health } }

    var latestSuccess: ContinuousClock.Instant? { state.withLock { $0.latestSuccess } }

    func noteSuccess(at time: ContinuousClock.Instant) {
        state.withLock { state in
            state.latestSuccess = time
            state.health.latestSuccess = WallClock.milliseconds
        }
    }

    func noteCanary(took duration: Duration) {
        state.withLock { state in
            state.latestSuccess = .now
            state.health.latestSuccess = WallClock.milliseconds
            state.health.latestCanary = state.health.latestSuccess
            state.health.canaryDuration = duration
        }
    }

    func noteLogin() { state.withLock { $0.health.logins += 1 } }

    func noteLoss() { state.withLock { $0.health.losses += 1 } }

    /// The token works, but refused something that it should have done.
    func noteTrouble(_ text: String) { state.withLock { $0.trouble = (text, .now) } }

    /// What it refused within the last seconds.
    var trouble: String? {
        state.withLock { state in
            guard let trouble = state.trouble, trouble.at.duration(to: .now) < Self.troubleLife else { return nil }
            return trouble.text
        }
    }
}
