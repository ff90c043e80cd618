import CoreMetrics
import PKCS11
import Synchronization

/// Times the calls of the PKCS#11 module, and counts what they returned if it was not CKR_OK.
final class CallMetrics: Sendable {
    private struct Failure: Hashable {
        let function: Function
        let returned: ReturnValue
    }

    private let registry: MetricsRegistry
    private let timers: [Function: Timer]
    private let failures = Mutex<[Failure: Counter]>([:])
    /// A module that makes up return values makes up no more series than these.
    private static let failuresLimit = 1_000

    init(_ registry: MetricsRegistry) {
        self.registry = registry
        timers = Dictionary(uniqueKeysWithValues: Function.allCases.map { function in
            (function, Timer(label: "custody_pkcs11_call_seconds", dimensions: [("function", function.rawValue)], factory: registry))
        })
    }

    func note(_ function: Function, _ returned: ReturnValue, _ duration: Duration) {
        // By integers: this is on the way of every operation.
        let (seconds, attoseconds) = duration.components
        timers[function]?.recordNanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
        guard returned != .ok else { return }
        let failure = Failure(function: function, returned: returned)
        let counter: Counter? = failures.withLock { failures in
            if let counter = failures[failure] { return counter }
            guard failures.count < Self.failuresLimit else { return nil }
            let counter = Counter(
                label: "custody_pkcs11_errors_total", dimensions: [("function", function.rawValue), ("code", returned.name)],
                factory: registry)
            failures[failure] = counter
            return counter
        }
        counter?.increment()
    }
}
