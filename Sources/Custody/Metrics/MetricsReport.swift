/// What was counted and timed since the start.
public struct MetricsReport: Sendable {
    public struct Label: Sendable, Hashable {
        public var name: String
        public var value: String
    }

    public struct Counter: Sendable {
        public var name: String
        public var labels: [Label]
        public var value: UInt64
    }

    public struct Histogram: Sendable {
        public var name: String
        public var labels: [Label]
        /// How many fell into each bucket, not into those before it; one more than there are ``MetricsReport/bounds``.
        public var counts: [UInt64]
        public var sumNanoseconds: UInt64
    }

    /// The upper bounds of the histograms' buckets, in nanoseconds.
    public static let bounds = LatencyHistogram.bounds

    public var counters: [Counter] = []
    public var histograms: [Histogram] = []
}
