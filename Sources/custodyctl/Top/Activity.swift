import CustodyProtocol

/// What happened between two looks at what the daemon counts.
struct Activity {
    struct Latency {
        /// A second.
        var rate: Double
        /// In seconds.
        var p50: Double
        var p99: Double
    }

    /// Operations a second by outcome, for each operation that was ever asked for; sorted by name.
    private(set) var operations: [(String, [String: Double])] = []
    private(set) var latencies: [String: Latency] = [:]
    /// Operations a second by key.
    private(set) var keys: [String: Double] = [:]
    /// Calls of the module by function, the most frequent first.
    private(set) var calls: [(String, Latency)] = []
    /// Calls a second that returned an error, by function.
    private(set) var errors: [String: Double] = [:]

    /// - Parameter seconds: The time between the two; greater than 0.
    init(_ report: WireMetricsReport, since before: WireMetricsReport?, seconds: Double) {
        let old = Dictionary((before?.counters ?? []).map { (Series($0.name, $0.labels), $0.value) }) { first, _ in first }
        var byOperation: [String: [String: Double]] = [:]
        for counter in report.counters {
            let series = Series(counter.name, counter.labels)
            let rate = Double(Self.growth(old[series] ?? 0, counter.value)) / seconds
            switch counter.name {
            case "custody_operations_total":
                byOperation[series["operation"], default: [:]][series["outcome"], default: 0] += rate
                if !series["key"].isEmpty { keys[series["key"], default: 0] += rate }
            case "custody_pkcs11_errors_total": errors[series["function"], default: 0] += rate
            default: break
            }
        }
        operations = byOperation.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }

        let bounds = report.bucketBoundsNs.map { Double($0) / 1_000_000_000 }
        let oldCounts = Dictionary((before?.histograms ?? []).map { (Series($0.name, $0.labels), $0.counts) }) { one, _ in one }
        for histogram in report.histograms {
            let series = Series(histogram.name, histogram.labels)
            let before = oldCounts[series] ?? Array(repeating: 0, count: histogram.counts.count)
            let counts = zip(before, histogram.counts).map(Self.growth)
            let total = counts.reduce(0, +)
            guard total > 0 else { continue }
            let latency = Latency(
                rate: Double(total) / seconds, p50: Self.quantile(0.5, of: counts, bounds),
                p99: Self.quantile(0.99, of: counts, bounds))
            switch histogram.name {
            case "custody_operation_seconds": latencies[series["operation"]] = latency
            case "custody_pkcs11_call_seconds": calls.append((series["function"], latency))
            default: break
            }
        }
        calls.sort { ($1.1.rate, $0.0) < ($0.1.rate, $1.0) }
    }

    /// A count that fell began anew.
    private static func growth(_ before: UInt64, _ now: UInt64) -> UInt64 { now >= before ? now - before : now }

    /// Where a fraction of the values lies below: within the bucket in proportion, as Prometheus' histogram_quantile does.
    static func quantile(_ fraction: Double, of counts: [UInt64], _ bounds: [Double]) -> Double {
        let total = Double(counts.reduce(0, &+))
        var below = 0.0
        for (index, count) in counts.enumerated() where count > 0 {
            guard below + Double(count) >= fraction * total else {
                below += Double(count)
                continue
            }
            guard bounds.indices.contains(index) else { break }
            let start = index == 0 ? 0 : bounds[index - 1]
            return start + (bounds[index] - start) * (fraction * total - below) / Double(count)
        }
        return bounds.last ?? 0
    }
}

private struct Series: Hashable {
    let name: String
    let labels: [String: String]

    init(_ name: String, _ pairs: [WirePair]) {
        self.name = name
        labels = Dictionary(pairs.map { ($0.key, $0.value) }) { first, _ in first }
    }

    subscript(label: String) -> String { labels[label] ?? "" }
}
