import CoreMetrics
import Synchronization

/// How long things took, in buckets that grow like 1, 2.5, 5 from 10 µs to 10 s. Recording takes no lock.
final class LatencyHistogram: TimerHandler {
    /// What a bucket holds at the most, in nanoseconds; the last one holds what is longer than all of these.
    static let bounds: [Int64] = [
        10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000,
        100_000_000, 250_000_000, 500_000_000, 1_000_000_000, 2_500_000_000, 5_000_000_000, 10_000_000_000,
    ]

    /// A class, since an atomic has a place of its own.
    private final class Bucket: Sendable {
        let count = Atomic<UInt64>(0)
    }

    private let buckets = (0...LatencyHistogram.bounds.count).map { _ in Bucket() }
    private let sum = Atomic<UInt64>(0)

    func recordNanoseconds(_ duration: Int64) {
        let index = Self.bounds.firstIndex { duration <= $0 } ?? Self.bounds.count
        buckets[index].count.add(1, ordering: .relaxed)
        sum.add(UInt64(clamping: duration), ordering: .relaxed)
    }

    /// The number in each bucket, and the sum of all durations.
    var values: (counts: [UInt64], sumNanoseconds: UInt64) {
        (buckets.map { $0.count.load(ordering: .relaxed) }, sum.load(ordering: .relaxed))
    }
}
