import Synchronization

/// Operations since the start, by outcome.
final class OutcomeCounts: Sendable {
    private let allowed = Atomic<UInt64>(0)
    private let denied = Atomic<UInt64>(0)
    private let failed = Atomic<UInt64>(0)

    func addFailures(_ count: Int) { failed.add(UInt64(count), ordering: .relaxed) }

    func add(_ outcome: AuditRecord.Outcome) {
        switch outcome {
        case .allowed: allowed.add(1, ordering: .relaxed)
        case .denied, .limited: denied.add(1, ordering: .relaxed)
        case .failed: failed.add(1, ordering: .relaxed)
        }
    }

    var values: (allowed: UInt64, denied: UInt64, failed: UInt64) {
        (allowed.load(ordering: .relaxed), denied.load(ordering: .relaxed), failed.load(ordering: .relaxed))
    }
}
