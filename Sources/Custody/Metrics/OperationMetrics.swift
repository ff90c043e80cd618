import CoreMetrics
import Synchronization

/// Counts what becomes of operations, by operation, outcome and key, and how long they took.
final class OperationMetrics: Sendable {
    private struct Subject: Hashable {
        let operation: Operation.Kind?
        let outcome: Outcome
        let error: ErrorCode?
        let key: KeyName?
    }

    fileprivate typealias ErrorCode = CustodyError.Code

    fileprivate enum Outcome: Int {
        case allowed, denied, limited, failed

        var name: String {
            switch self {
            case .allowed: "allowed"
            case .denied: "denied"
            case .limited: "limited"
            case .failed: "failed"
            }
        }
    }

    private let registry: MetricsRegistry
    private let counters = Mutex<[Subject: Counter]>([:])
    private let timers: [Operation.Kind: Timer]

    init(_ registry: MetricsRegistry) {
        self.registry = registry
        timers = Dictionary(uniqueKeysWithValues: Operation.Kind.allCases.map { kind in
            (kind, Timer(label: "custody_operation_seconds", dimensions: [("operation", kind.rawValue)], factory: registry))
        })
    }

    /// - Parameter ring: What keys there are: callers must not make up series by made-up names.
    func count(_ record: AuditRecord, _ ring: KeyRing) {
        let (outcome, error) = record.outcome.labels
        let key = record.keyName.flatMap { ring.contains($0) ? $0 : nil }
        counter(Subject(operation: record.operation, outcome: outcome, error: error, key: key)).increment()
        // What is turned away at once would make the others look quick.
        guard case .allowed = record.outcome, let kind = record.operation else { return }
        timers[kind]?.recordMicroseconds(record.latencyMicroseconds)
    }

    private func counter(_ subject: Subject) -> Counter {
        counters.withLock { counters in
            if let counter = counters[subject] { return counter }
            let counter = Counter(
                label: "custody_operations_total",
                dimensions: [
                    ("operation", subject.operation?.rawValue ?? "unknown"), ("outcome", subject.outcome.name),
                    ("error", subject.error?.rawValue ?? ""), ("key", subject.key?.description ?? ""),
                ],
                factory: registry)
            counters[subject] = counter
            return counter
        }
    }
}

extension AuditRecord.Outcome {
    fileprivate var labels: (outcome: OperationMetrics.Outcome, error: OperationMetrics.ErrorCode?) {
        switch self {
        case .allowed: (.allowed, nil)
        case .denied: (.denied, nil)
        case .limited: (.limited, nil)
        case .failed(_, let error): (.failed, error.code)
        }
    }
}
