import CoreMetrics
import PKCS11
import Testing

@testable import Custody

@Suite struct MetricsTests {
    @Test func bucketsTakeWhatFitsAndTheLastOneTheRest() {
        let histogram = LatencyHistogram()
        for bound in LatencyHistogram.bounds { histogram.recordNanoseconds(bound) }
        histogram.recordNanoseconds(0)
        histogram.recordNanoseconds(10_001)
        histogram.recordNanoseconds(.max)
        let (counts, sum) = histogram.values
        #expect(counts == [2, 2] + Array(repeating: 1, count: LatencyHistogram.bounds.count - 1))
        #expect(sum == LatencyHistogram.bounds.reduce(10_001 + UInt64(Int64.max)) { $0 + UInt64($1) })
    }

    @Test func oneOfALabelAndDimensionsIsOne() {
        let registry = MetricsRegistry()
        Counter(label: "b", dimensions: [("x", "1")], factory: registry).increment(by: 2)
        Counter(label: "b", dimensions: [("x", "1")], factory: registry).increment(by: 3)
        Counter(label: "b", dimensions: [("x", "0")], factory: registry).increment()
        Counter(label: "a", factory: registry).increment()
        Timer(label: "t", factory: registry).recordMilliseconds(3)
        Timer(label: "t", factory: registry).recordMilliseconds(4)
        let report = registry.report
        #expect(report.counters.map(\.name) == ["a", "b", "b"])
        #expect(report.counters.map(\.value) == [1, 1, 5])
        #expect(report.counters.last?.labels == [.init(name: "x", value: "1")])
        #expect(report.histograms.map { $0.counts.reduce(0, +) } == [2])
        #expect(report.histograms.first?.sumNanoseconds == 7_000_000)
    }

    @Test func callsAreTimedAndTheirErrorsCounted() {
        let registry = MetricsRegistry()
        let calls = CallMetrics(registry)
        calls.note(.encrypt, .ok, .microseconds(30))
        calls.note(.encrypt, .deviceError, .microseconds(70))
        calls.note(.encrypt, .deviceError, .microseconds(70))
        let report = registry.report
        let errors = report.counters.filter { $0.name == "custody_pkcs11_errors_total" }
        #expect(errors.map(\.value) == [2])
        #expect(errors.first?.labels == [.init(name: "function", value: "C_Encrypt"), .init(name: "code", value: "CKR_DEVICE_ERROR")])
        let times = report.histograms.first { $0.labels == [.init(name: "function", value: "C_Encrypt")] }
        #expect(times?.counts.reduce(0, +) == 3)
        #expect(times?.sumNanoseconds == 170_000)
    }

    /// A module that makes up return values must not fill the memory.
    @Test func madeUpReturnValuesHaveAnEnd() {
        let registry = MetricsRegistry()
        let calls = CallMetrics(registry)
        for code in UInt(1)...5_000 { calls.note(.encrypt, ReturnValue(rawValue: 0x8000_0000 + code), .zero) }
        #expect(registry.report.counters.count == 1_000)
    }
}
