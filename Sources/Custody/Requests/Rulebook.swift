/// The rules in force, as one: a request is judged by the rulebook that was in force when it came, whatever is loaded
/// meanwhile.
final class Rulebook: Sendable {
    let rules: Rules
    let limiter: Limiter
    private let file: String
    private let loadedMilliseconds = WallClock.milliseconds

    /// - Parameter old: Whose limits go on counting where they stay the same.
    init(_ rules: Rules, file: String, continuing old: Rulebook? = nil) {
        self.rules = rules
        self.file = file
        limiter = Limiter(rules.limits, continuing: old?.limiter)
    }

    var policy: Policy { rules.policy }

    func report(trouble: String?) -> ConfigurationReport {
        ConfigurationReport(
            file: file, loadedMilliseconds: loadedMilliseconds, grants: policy.grants.count, denials: policy.denials.count,
            limits: rules.limits.count, trouble: trouble)
    }
}
