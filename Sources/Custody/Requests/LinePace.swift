/// How fast one account may have lines written to the audit log that cost it nothing else: denials, malformed operations,
/// status. What uses the HSM is slowed down by the HSM, and limited by the configuration.
///
/// A line is a unit, and so are each 512 bytes that its context, the labels and the caller's groups take of it, as the log
/// writes them: a control character takes six. An account has `burst` units in hand, which
/// come back at `rate` a second; who has used them up waits, and who would wait longer than `patience` is turned away. So one
/// account fills the log with `rate` units a second at most, about 100 KB, however many connections it opens and whatever it
/// sends (the generic cell rate algorithm, ITU-T I.371).
struct LinePace {
    static let rate = 100
    static let burst = 200
    static let patience = Duration.seconds(1)
    static let bytesPerUnit = 512

    private static let interval = Duration.seconds(1) / rate
    /// So many accounts are remembered before those that owe nothing are forgotten.
    private static let capacity = 1_024

    /// When each account will have paid for what it has had written.
    private var paid: [UInt32: ContinuousClock.Instant] = [:]

    /// Takes units of an account. Returns how long it must wait; nil if that is too long, and then nothing is taken.
    mutating func take(_ units: Int, of account: UInt32, now: ContinuousClock.Instant) -> Duration? {
        let debt = paid[account].map { max(now.duration(to: $0), .zero) } ?? .zero
        let wait = max(debt - Self.interval * Self.burst, .zero)
        guard wait <= Self.patience else { return nil }
        if paid.count >= Self.capacity { paid = paid.filter { $0.value > now } }
        paid[account] = now + debt + Self.interval * units
        return wait
    }
}

extension CustodyRequest {
    /// What writing lines about these of its items costs.
    func lineUnits(_ isCounted: (Int) -> Bool) -> Int {
        let shared = onBehalfOf.lengthInLine + principal.lengthInLine
        return items.indices.reduce(0) { sum, index in
            guard isCounted(index) else { return sum }
            let context = (try? items[index].operation.get())?.context?.lengthInLine ?? 0
            return sum + 1 + (shared + context) / LinePace.bytesPerUnit
        }
    }

    /// What context and labels take at the most of a line about one of its items.
    var longestLine: Int {
        let labels = onBehalfOf.lengthInLine
        return items.reduce(labels) { max($0, labels + ((try? $1.operation.get())?.context?.lengthInLine ?? 0)) }
    }
}

extension Policy {
    /// See ``Custodian/account(of:)``. The number that stands for no user stands for all of the unnamed ones.
    func account(of principal: Principal) -> UInt32 { mayName(principal) ? principal.account : .max }
}
