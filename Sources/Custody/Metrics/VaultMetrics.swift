import PKCS11

/// What the vault counts and times of itself, by swift-metrics' interfaces.
public final class VaultMetrics: Sendable {
    private let registry: MetricsRegistry
    let operations: OperationMetrics
    let calls: CallMetrics

    /// Counts from zero.
    public init() {
        registry = MetricsRegistry()
        operations = OperationMetrics(registry)
        calls = CallMetrics(registry)
    }

    /// What a module tells of its calls.
    var observer: CallObserver { { [calls] function, returned, duration in calls.note(function, returned, duration) } }

    /// Everything since the start.
    var report: MetricsReport { registry.report }
}
