import Foundation
import Histogram
import ToolSupport

/// One thing that is done for each tenant; sums up over the rounds.
struct Scenario {
    private let name: String
    private let callers: Int
    private let work: @Sendable (Int) async throws -> Void
    private var perRound: [Double] = []
    private var latencies = Histogram<UInt64>(highestTrackableValue: 60_000_000_000, numberOfSignificantValueDigits: .three)

    init(_ name: String, _ callers: Int, work: @escaping @Sendable (Int) async throws -> Void) {
        self.name = name
        self.callers = callers
        self.work = work
    }

    /// Does it once for each tenant of the range.
    mutating func run(_ tenants: Range<Int>) async throws {
        let start = ContinuousClock.now
        let (callers, work) = (callers, work)
        let times = try await withThrowingTaskGroup(of: [UInt64].self) { group in
            for caller in 0..<callers {
                group.addTask {
                    var times: [UInt64] = []
                    for tenant in stride(from: tenants.lowerBound + caller, to: tenants.upperBound, by: callers) {
                        let begin = ContinuousClock.now
                        try await work(tenant)
                        times.append(UInt64(begin.duration(to: .now) / .nanoseconds(1)))
                    }
                    return times
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        perRound.append(Double(tenants.count) / (start.duration(to: .now) / .seconds(1)))
        for time in times { latencies.record(time) }
    }

    private var rate: Double { perRound.sorted()[perRound.count / 2] }

    static func report(_ scenarios: [Scenario], tenants: Int) {
        Output.say("\(tenants) tenants, each scenario once for each, interleaved in rounds. Compare within this table only.\n")
        var table = Table(["scenario", "callers", "per second", "p50 us", "p99 us", "of the KMS's call alone"])
        for scenario in scenarios {
            let kms = scenarios.first { $0.name == "decrypt by the KMS" && $0.callers == scenario.callers }
            table.add(
                scenario.name, "\(scenario.callers)", "\(Int(scenario.rate))", microseconds(scenario.latencies.valueAtPercentile(50)),
                microseconds(scenario.latencies.valueAtPercentile(99)), kms.map { String(format: "%.2f", scenario.rate / $0.rate) } ?? "-")
        }
        table.show()
        Output.say("\nper second: median of the rounds.")
    }

    private static func microseconds(_ nanoseconds: UInt64) -> String { String(format: "%.1f", Double(nanoseconds) / 1_000) }
}
