import CoreMetrics
import Synchronization

/// What swift-metrics' counters and timers count in: kept here until somebody asks, since the daemon sends nothing anywhere.
///
/// One of a label and dimensions is one, however often it is made. Meters and recorders are not kept: what the daemon has of
/// such kinds stands in its status.
final class MetricsRegistry: MetricsFactory {
    private struct Series: Hashable, Comparable {
        let name: String
        let labels: [MetricsReport.Label]

        init(_ name: String, _ dimensions: [(String, String)]) {
            self.name = name
            labels = dimensions.map { .init(name: $0.0, value: $0.1) }
        }

        static func < (one: Series, other: Series) -> Bool {
            if one.name != other.name { return one.name < other.name }
            return one.labels.lexicographicallyPrecedes(other.labels) { ($0.name, $0.value) < ($1.name, $1.value) }
        }
    }

    private final class Count: CounterHandler {
        let value = Atomic<UInt64>(0)

        func increment(by amount: Int64) { value.add(UInt64(clamping: amount), ordering: .relaxed) }

        func reset() { value.store(0, ordering: .relaxed) }
    }

    private struct State {
        var counts: [Series: Count] = [:]
        var histograms: [Series: LatencyHistogram] = [:]
    }

    private let state = Mutex(State())

    func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        let series = Series(label, dimensions)
        return state.withLock { state in
            let count = state.counts[series] ?? Count()
            state.counts[series] = count
            return count
        }
    }

    func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        let series = Series(label, dimensions)
        return state.withLock { state in
            let histogram = state.histograms[series] ?? LatencyHistogram()
            state.histograms[series] = histogram
            return histogram
        }
    }

    func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler { NOOPMetricsHandler.instance }

    func destroyCounter(_ handler: any CounterHandler) {}

    func destroyRecorder(_ handler: any RecorderHandler) {}

    func destroyTimer(_ handler: any TimerHandler) {}

    /// Everything counted so far, in a fixed order.
    var report: MetricsReport {
        let state = state.withLock { $0 }
        var report = MetricsReport()
        for (series, count) in state.counts.sorted(by: { $0.key < $1.key }) {
            report.counters.append(.init(name: series.name, labels: series.labels, value: count.value.load(ordering: .relaxed)))
        }
        for (series, histogram) in state.histograms.sorted(by: { $0.key < $1.key }) {
            let (counts, sum) = histogram.values
            report.histograms.append(.init(name: series.name, labels: series.labels, counts: counts, sumNanoseconds: sum))
        }
        return report
    }
}
