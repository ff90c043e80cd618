import Testing

@testable import Custody

/// How much one account may have written.
@Suite struct LinePaceTests {
    /// How many single lines an account gets written within this time, trying all the while.
    private func lines(_ pace: inout LinePace, of account: UInt32, from start: ContinuousClock.Instant, for time: Duration) -> Int {
        var written = 0
        var now = start
        while now < start + time {
            while written < 100_000, pace.take(1, of: account, now: now) != nil { written += 1 }
            now += .milliseconds(10)
        }
        return written
    }

    @Test func aFloodIsHeldToTheRate() {
        var pace = LinePace()
        let start = ContinuousClock.now
        let bound = LinePace.burst + LinePace.rate * 11
        #expect((bound - 20...bound + 20).contains(lines(&pace, of: 1, from: start, for: .seconds(10))))
        // Nobody else pays for it, and it is forgiven.
        #expect(pace.take(1, of: 2, now: start + .seconds(10)) == .zero)
        #expect(pace.take(1, of: 1, now: start + .seconds(60)) == .zero)
    }

    @Test func whatComesNowAndThenDoesNotWait() {
        var pace = LinePace()
        let start = ContinuousClock.now
        for second in 0..<1_000 { #expect(pace.take(50, of: 1, now: start + .seconds(second)) == .zero) }
    }

    @Test func aBatchPaysForEachOfItsLines() {
        var pace = LinePace()
        let start = ContinuousClock.now
        #expect(pace.take(256, of: 1, now: start) == .zero)
        #expect(pace.take(1, of: 1, now: start) == .milliseconds(560))
        #expect(pace.take(256, of: 1, now: start) == .milliseconds(570))
        #expect(pace.take(1, of: 1, now: start) == nil)
        #expect(pace.take(1, of: 1, now: start + .milliseconds(2_200)) != nil)
    }
}
