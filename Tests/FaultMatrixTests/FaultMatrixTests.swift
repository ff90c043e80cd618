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
        // Who came late among all the other tests is for `scripts/faults` to tell, which has the machine for itself.
        #expect(report.results.allSatisfy { $0.isPassed || $0.isOnlyLate } && report.lifeProblems.isEmpty, "\(report.text)")
    }
}
