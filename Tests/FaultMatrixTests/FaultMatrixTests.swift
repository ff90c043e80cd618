import FaultMatrix
import Testing

/// Some of the cells of `scripts/faults`, which runs them all.
struct FaultMatrixTests {
    @Test func theDaemonCallsWhatTheMatrixKnows() async throws {
        let problems = try await DaemonLife.undeclaredCalls()
        #expect(problems.isEmpty)
    }

    @Test func aSliceOfTheMatrixHolds() async throws {
        let matrix = Matrix.slice
        let report = try await matrix.run(stands: 6)
        #expect(report.results.count == matrix.cells.count)
        #expect(report.isPassed, "\(report.text)")
    }
}
