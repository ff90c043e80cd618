import Testing

@testable import Custody

@Suite struct BackOffTests {
    @Test func pausesGrowFromAHundredMillisecondsToHalfAMinute() {
        var backOff = BackOff()
        #expect(!backOff.hasFailures)
        let pauses = (0..<60).map { _ in backOff.next(isLight: false) }
        #expect(backOff.hasFailures)
        #expect(pauses.allSatisfy { $0 >= .milliseconds(100) && $0 <= .seconds(30) })
        #expect(pauses[0] <= .milliseconds(150))
        #expect(pauses.suffix(20).allSatisfy { $0 >= .seconds(20) })
        backOff.reset()
        #expect(backOff.next(isLight: false) <= .milliseconds(150))
    }

    /// Many daemons on one token must not ask it at the same moments.
    @Test func pausesDiffer() {
        let late = (0..<50).map { _ in
            var backOff = BackOff()
            for _ in 0..<40 { _ = backOff.next(isLight: false) }
            return backOff.next(isLight: false)
        }
        #expect(Set(late).count > 10)
    }

    /// A token that is away for minutes is used within a second of its return.
    @Test func aMereLookIsMadeEverySecondAtLeast() {
        var backOff = BackOff()
        for _ in 0..<100 { #expect(backOff.next(isLight: true) <= .milliseconds(900)) }
    }

    /// Whatever the outage lasted, the next attempt comes before half of that has passed again.
    @Test func aPauseIsShortAgainstTheOutage() {
        var backOff = BackOff()
        var outage = Duration.zero
        for attempt in 0..<25 {
            let pause = backOff.next(isLight: false)
            // Before that the outage is a second or so, and chance may have it otherwise: 1.5 b against 2 (1 - 0.8^n) b.
            if attempt > 6 { #expect(pause <= outage / 2, "\(pause) after \(outage)") }
            outage += pause
        }
    }
}
