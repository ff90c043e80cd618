import TestSupport
import Testing

/// `scripts/soak` for some seconds: each thing that it makes happen, once.
@Suite struct SoakTests {
    @Test func everythingOnce() async throws {
        let result = try await run("custody-soak", arguments: ["--minutes", "0.25", "--callers", "4"], within: .seconds(400))
        guard result.status == .exited(0) else { throw UnexpectedResult(result) }
        for verdict in ["lost = 0", "wrong = 0", "leaks = 0"] { #expect(result.output.contains(verdict)) }
    }
}
