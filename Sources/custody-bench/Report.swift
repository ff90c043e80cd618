import Foundation
import Histogram
import ToolSupport

/// The table at the end.
struct Report {
    let scenarios: [Scenario]
    let size: Int
    let rounds: Int
    let milliseconds: Int

    func write() {
        Output.say("Wrapping \(size) bytes; \(rounds) rounds of \(milliseconds) ms, scenarios interleaved. Compare within this table only.\n")
        let header = ["scenario", "callers", "ops/s", "p50 us", "p99 us", "server CPU us/op", "of direct", "of smallest"]
        var rows = [header]
        for scenario in scenarios {
            let figures = scenario.result
            let rate = median(figures.perRound)
            let direct = scenarios.first { $0.name.hasPrefix("direct") && $0.callers == scenario.callers }
            let ratio = direct.map { rate / median($0.result.perRound) }
            let smallest = scenarios.first { $0.name.hasPrefix("smallest") && $0.callers == scenario.callers }
            let ofSmallest = smallest.map { rate / median($0.result.perRound) }
            let isDirect = scenario.name.hasPrefix("direct")
            rows.append([
                scenario.name, String(scenario.callers), String(Int(rate)),
                microseconds(figures.latencies.valueAtPercentile(50)), microseconds(figures.latencies.valueAtPercentile(99)),
                isDirect ? "-" : String(format: "%.1f", figures.daemonCPU / Double(max(1, figures.operations)) * 1e6),
                isDirect ? "1.00" : ratio.map { String(format: "%.2f", $0) } ?? "-",
                isDirect ? "-" : ofSmallest.map { String(format: "%.2f", $0) } ?? "-",
            ])
        }
        let widths = header.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        for row in rows {
            let cells = row.enumerated().map { index, cell in
                let padding = String(repeating: " ", count: widths[index] - cell.count)
                return index == 0 ? cell + padding : padding + cell
            }
            Output.say("\(cells.joined(separator: "  "))")
        }
        Output.say("\nops/s: median of the rounds. p50 and p99: of one call, a whole batch where there are batches.")
    }

    private func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        return sorted.isEmpty ? 0 : sorted[sorted.count / 2]
    }

    private func microseconds(_ nanoseconds: UInt64) -> String {
        String(format: "%.0f", Double(nanoseconds) / 1_000)
    }
}
