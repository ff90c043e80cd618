/// What was counted and timed since the start, by the names and labels that Prometheus is given.
public struct MetricsReport: Sendable {
    /// What tells series of one name apart, such as an operation or a key.
    public struct Label: Sendable, Hashable {
        public var name: String
        public var value: String
    }

    /// How often something happened.
    public struct Counter: Sendable {
        public var name: String
        public var labels: [Label]
        public var value: UInt64
    }

    /// How long something took.
    public struct Histogram: Sendable {
        public var name: String
        public var labels: [Label]
        /// How many fell into each bucket, not into those before it; one more than there are ``MetricsReport/bounds``.
        public var counts: [UInt64]
        /// All durations together.
        public var sumNanoseconds: UInt64
    }

    /// The upper bounds of the histograms' buckets, in nanoseconds.
    public static let bounds = LatencyHistogram.bounds

    /// Sorted by name and labels.
    public var counters: [Counter] = []
    /// Sorted by name and labels.
    public var histograms: [Histogram] = []
}
