import ByteEncoding
import Custody
import PKCS11

/// What `systemctl status` shows of the daemon in one line: the token, the keys and how much is asked of them.
struct ServiceStatus {
    var token: TokenState
    var keys = 0
    /// Operations a second, since the last report; nil before the first.
    var rate: Double?

    /// In one line, whatever the token calls itself.
    var text: String {
        let text = switch token {
        case .ready(let info): "token '\(info.label)' ready" + activity
        case .degraded(let info, let reason): "token '\(info.label)' degraded: \(reason)" + activity
        case .recovering: "connecting to the token"
        case .locked(let error): "token locked, an operator must act: \(error.message)"
        case .unavailable(let error): "token unavailable, tried again: \(error.message)"
        }
        return VisibleText.escaped(text)
    }

    private var activity: String {
        let keys = keys == 1 ? "1 key" : "\(keys) keys"
        return "; \(keys)" + (rate.map { "; \(Int($0.rounded())) operations/s" } ?? "")
    }
}

/// Turns counts of operations into rates.
struct OperationPace {
    private var latest: (count: UInt64, at: ContinuousClock.Instant)?

    /// Operations a second since the last call.
    mutating func rate(_ count: UInt64, now: ContinuousClock.Instant = .now) -> Double? {
        defer { latest = (count, now) }
        guard let latest, now > latest.at, count >= latest.count else { return nil }
        return Double(count - latest.count) / (latest.at.duration(to: now) / .seconds(1))
    }
}
