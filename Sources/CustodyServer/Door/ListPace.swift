/// How fast one account may connect with long lists of groups, which take the accepting thread a part of a millisecond each
/// to read. Nobody who means well has such lists.
struct ListPace {
    private static let rate = 20
    private static let capacity = 1_024

    /// When each account will have paid for what was read for it.
    private var paid: [UInt32: ContinuousClock.Instant] = [:]

    /// Takes one; returns why not, if there were too many.
    mutating func refusal(of account: UInt32, now: ContinuousClock.Instant = .now) -> String? {
        let debt = max(paid[account].map { now.duration(to: $0) } ?? .zero, .zero)
        guard debt <= .seconds(1) else {
            return "this user has more than \(PeerCredentials.longList) groups and opens more than \(Self.rate) connections a second"
        }
        if paid.count >= Self.capacity { paid = paid.filter { $0.value > now } }
        // Whoever is so many users shares what is left.
        let account = paid.count < Self.capacity || paid[account] != nil ? account : .max
        paid[account] = now + debt + .seconds(1) / Self.rate
        return nil
    }
}
