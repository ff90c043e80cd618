import TestSupport
import Testing

@testable import Custody

@Suite struct LimiterTests {
    /// A clock that moves when a test says so. It begins at noon of a UTC day.
    private struct Clock {
        private(set) var moment = Limiter.Moment(instant: .now, milliseconds: 20_000 * 86_400_000 + 43_200_000)

        mutating func advance(_ duration: Duration) {
            moment.instant += duration
            moment.milliseconds += UInt64((duration / .milliseconds(1)).rounded())
        }
    }

    private func admitted(
        _ limiter: Limiter, _ times: Int, by principal: Principal = .owner, _ kind: Operation.Kind = .unwrap, key: KeyName? = "root",
        at moment: Limiter.Moment
    ) -> Int {
        (0..<times).count { _ in limiter.admit(principal, kind, key: key, at: moment) == nil }
    }

    @Test func noLimitAdmitsAll() {
        let limiter = Limiter([])
        #expect(admitted(limiter, 1_000, at: .now) == 1_000)
        #expect(limiter.reports.isEmpty)
        #expect(limiter.bucketCount == 0)
    }

    @Test(arguments: [
        (0.5, nil, 1, 2_000), (1, nil, 1, 1_000), (2.9, nil, 2, 345), (3, nil, 3, 334), (7, nil, 7, 143), (1_000, nil, 1_000, 1), (2, 1, 1, 500),
        (2, 10, 10, 500), (0.001, 3, 3, 1_000_000),
    ] as [(Double, Int?, Int, Int)])
    func burstThenRefill(_ perSecond: Double, _ burst: Int?, _ atOnce: Int, _ milliseconds: Int) throws {
        var clock = Clock()
        let limiter = Limiter([Limit(rule: "l", perSecond: perSecond, burst: burst)])
        #expect(admitted(limiter, atOnce + 5, at: clock.moment) == atOnce)
        let refusal = try #require(limiter.admit(.owner, .unwrap, key: "root", at: clock.moment))
        #expect(refusal == Limiter.Refusal(rule: "l", scope: "uid 1000", retryAfterMilliseconds: milliseconds))
        // Not a millisecond too late, nor too early.
        clock.advance(.milliseconds(milliseconds - 1))
        #expect(admitted(limiter, 1, at: clock.moment) == 0)
        clock.advance(.milliseconds(1))
        #expect(admitted(limiter, 2, at: clock.moment) == 1)
        clock.advance(.seconds(1_000_000))
        #expect(admitted(limiter, atOnce + 5, at: clock.moment) == atOnce, "a long pause gives no more than the burst")
    }

    @Test func rateDoesNotDrift() {
        var clock = Clock()
        let limiter = Limiter([Limit(rule: "l", perSecond: 3, burst: 1)])
        var count = 0
        for _ in 0..<60_000 {
            count += admitted(limiter, 1, at: clock.moment)
            clock.advance(.milliseconds(1))
        }
        // Asked for each millisecond, every third of a second is rounded up to 334 ms.
        #expect(count == 180)
    }

    @Test func clockThatGoesBackGivesNothingAway() {
        var clock = Clock()
        let limiter = Limiter([Limit(rule: "l", perSecond: 1, burst: 2)])
        #expect(admitted(limiter, 3, at: clock.moment) == 2)
        var earlier = clock.moment
        earlier.instant -= .seconds(60)
        #expect(admitted(limiter, 3, at: earlier) == 0)
        clock.advance(.seconds(1))
        #expect(admitted(limiter, 3, at: clock.moment) == 1)
    }

    @Test func dayEndsAtMidnightUTC() throws {
        var clock = Clock()
        let limiter = Limiter([Limit(rule: "l", perDay: 3)])
        #expect(admitted(limiter, 5, at: clock.moment) == 3)
        #expect(limiter.admit(.owner, .unwrap, key: "root", at: clock.moment)?.retryAfterMilliseconds == 43_200_000)
        clock.advance(.seconds(43_200) - .milliseconds(1))
        #expect(limiter.admit(.owner, .unwrap, key: "root", at: clock.moment)?.retryAfterMilliseconds == 1)
        clock.advance(.milliseconds(1))
        #expect(admitted(limiter, 5, at: clock.moment) == 3)
        clock.advance(.seconds(10 * 86_400))
        #expect(admitted(limiter, 5, at: clock.moment) == 3)
    }

    @Test func refusalTakesFromNoLimit() {
        var clock = Clock()
        let limiter = Limiter([
            Limit(rule: "rate", perSecond: 1, burst: 4), Limit(rule: "day", perDay: 6), Limit(rule: "key", keys: [Pattern("small")], perDay: 1, per: .key),
        ])
        #expect(admitted(limiter, 1, key: "small", at: clock.moment) == 1)
        #expect(admitted(limiter, 100, key: "small", at: clock.moment) == 0)
        // One is gone of each of the others.
        #expect(admitted(limiter, 100, key: "root", at: clock.moment) == 3)
        clock.advance(.seconds(100))
        #expect(admitted(limiter, 100, key: "root", at: clock.moment) == 2)
        #expect(limiter.reports.map { "\($0.rule) \($0.scope) \($0.refused)" } == ["rate uid 1000 97", "day uid 1000 98", "key key small 100"])
    }

    @Test func longestWaitIsTold() {
        let clock = Clock()
        let limiter = Limiter([Limit(rule: "short", perSecond: 1), Limit(rule: "long", perDay: 1), Limit(rule: "middle", perSecond: 0.1)])
        #expect(admitted(limiter, 1, at: clock.moment) == 1)
        #expect(limiter.admit(.owner, .wrap, key: "root", at: clock.moment)?.rule == "long")
    }

    @Test func countIsAdmittedAsAWhole() {
        let clock = Clock()
        let limiter = Limiter([Limit(rule: "l", perSecond: 1, burst: 10)])
        #expect(limiter.admit(.owner, .wrap, key: "root", count: 11, at: clock.moment) != nil)
        #expect(limiter.admit(.owner, .wrap, key: "root", count: 7, at: clock.moment) == nil)
        #expect(limiter.admit(.owner, .wrap, key: "root", count: 4, at: clock.moment)?.retryAfterMilliseconds == 1_000)
        #expect(limiter.admit(.owner, .wrap, key: "root", count: 3, at: clock.moment) == nil)
    }

    @Test(arguments: [
        // Of two users on two keys, each asking twice in this order: who is admitted.
        (Limit.Per.user, [true, false, true, false, false, false, false, false]),
        (.key, [true, false, false, false, true, false, false, false]),
        (.userAndKey, [true, false, true, false, true, false, true, false]),
        (.everyone, [true, false, false, false, false, false, false, false]),
    ])
    func whoSharesACount(_ per: Limit.Per, _ expected: [Bool]) {
        let clock = Clock()
        let limiter = Limiter([Limit(rule: "l", perDay: 1, per: per)])
        var results: [Bool] = []
        for key: KeyName in ["a", "b"] {
            for principal in [Principal.owner, .stranger] {
                for _ in 0..<2 { results.append(limiter.admit(principal, .wrap, key: key, at: clock.moment) == nil) }
            }
        }
        #expect(results == expected)
    }

    @Test func whomALimitConcerns() {
        let clock = Clock()
        func isLimited(_ limit: Limit, by principal: Principal = .owner, _ kind: Operation.Kind = .wrap, key: KeyName? = "root") -> Bool {
            let limiter = Limiter([limit])
            return admitted(limiter, 2, by: principal, kind, key: key, at: clock.moment) == 1
        }
        let all = Limit(rule: "l", perDay: 1)
        for kind in Operation.Kind.allCases { #expect(isLimited(all, kind) == kind.usesKey, "\(kind)") }
        #expect(isLimited(all, key: nil))
        #expect(isLimited(all, by: .stranger))
        let status = Limit(rule: "l", keys: [Pattern("other")], operations: [.status], perDay: 1)
        #expect(isLimited(status, .status, key: nil))
        #expect(!isLimited(status, .reload, key: nil))
        let some = Limit(rule: "l", subject: .group(name: "g", gid: 50), keys: [Pattern("r*")], operations: [.wrap], perDay: 1)
        #expect(isLimited(some))
        #expect(!isLimited(some, by: .stranger))
        #expect(!isLimited(some, .unwrap))
        #expect(!isLimited(some, key: "other"))
        #expect(!isLimited(some, key: nil), "a key that is not known may be another")
        #expect(isLimited(Limit(rule: "l", subject: .user(name: "o", uid: 1_000), perDay: 1)))
        #expect(!isLimited(Limit(rule: "l", subject: .user(name: "o", uid: 50), perDay: 1)))
    }

    /// A blob may name a version that no look has shown yet: what goes by the key is asked when its name is known.
    @Test func aKeyThatIsSeenLaterIsCountedOnce() {
        let clock = Clock()
        let limiter = Limiter([
            Limit(rule: "all", perDay: 100), Limit(rule: "named", keys: [Pattern("root")], perDay: 3),
            Limit(rule: "each", perDay: 5, per: .key),
        ])
        var done = 0
        for _ in 0..<5 {
            guard limiter.admit(.owner, .unwrap, key: nil, at: clock.moment) == nil,
                limiter.admit(.owner, .unwrap, key: "root", wasUnknown: true, at: clock.moment) == nil
            else { continue }
            done += 1
        }
        #expect(done == 3)
        // Each other key has a count of its own.
        #expect(admitted(limiter, 200, by: .owner, .wrap, key: "another", at: clock.moment) == 5)
        let wide = Limiter([Limit(rule: "all", perDay: 10)])
        for _ in 0..<5 {
            _ = wide.admit(.owner, .unwrap, key: nil, at: clock.moment)
            _ = wide.admit(.owner, .unwrap, key: "root", wasUnknown: true, at: clock.moment)
        }
        #expect(admitted(wide, 20, at: clock.moment) == 5)
    }

    @Test func reloadDoesNotRefill() {
        let clock = Clock()
        let rate = Limit(rule: "custody.toml:3", perSecond: 0.001, burst: 2)
        let day = Limit(rule: "custody.toml:9", operations: [.wrap], perDay: 5, per: .everyone)
        let first = Limiter([rate, day])
        #expect(admitted(first, 5, .wrap, at: clock.moment) == 2)
        // The same limits in other places.
        var (movedRate, movedDay) = (rate, day)
        (movedRate.rule, movedDay.rule) = ("custody.toml:20", "custody.toml:2")
        let second = Limiter([movedDay, movedRate], continuing: first)
        #expect(admitted(second, 5, .wrap, at: clock.moment) == 0)
        #expect(second.reports.map { "\($0.rule) \($0.refused)" } == ["custody.toml:20 8"])
        // One is changed, and begins anew; the other goes on with 2 of 5 taken.
        let third = Limiter([day, Limit(rule: "custody.toml:3", perSecond: 0.001, burst: 100)], continuing: second)
        #expect(admitted(third, 50, .wrap, at: clock.moment) == 3)
        // What is gone does not come back.
        let fourth = Limiter([day], continuing: Limiter([], continuing: third))
        #expect(admitted(fourth, 50, .wrap, at: clock.moment) == 5)
    }

    @Test func twoLimitsOfTheSameKeepTheirCounts() {
        let clock = Clock()
        let (a, b) = (Limit(rule: "a", perDay: 2), Limit(rule: "b", perDay: 2))
        let first = Limiter([a, b])
        #expect(admitted(first, 1, at: clock.moment) == 1)
        let second = Limiter([a, b], continuing: first)
        #expect(admitted(second, 5, at: clock.moment) == 1)
        #expect(Set(second.reports.map(\.rule)) == ["a", "b"])
    }

    @Test func reportsNameWhoAndWhen() {
        let clock = Clock()
        let named = Principal(uid: 7, gids: [7], pid: 1, user: "billing")
        let limiter = Limiter([Limit(rule: "a", perDay: 1), Limit(rule: "b", perDay: 1, per: .userAndKey), Limit(rule: "c", perDay: 1, per: .everyone)])
        #expect(admitted(limiter, 3, by: named, at: clock.moment) == 1)
        #expect(limiter.reports.map { "\($0.rule): \($0.scope)" } == ["a: user billing", "b: user billing, key root", "c: everyone"])
        #expect(limiter.reports.allSatisfy { $0.refused == 2 && $0.lastRefusedMilliseconds == clock.moment.milliseconds })
    }

    @Test func idleCountsAreForgotten() {
        var clock = Clock()
        let limiter = Limiter([Limit(rule: "l", perSecond: 1, per: .key)])
        for key in 0..<5_000 { _ = limiter.admit(.owner, .wrap, key: "k\(key)", at: clock.moment) }
        #expect(limiter.bucketCount == 5_000)
        #expect(admitted(limiter, 1, key: "k0", at: clock.moment) == 0)
        clock.advance(.seconds(3_600))
        _ = limiter.admit(.owner, .wrap, key: "new", at: clock.moment)
        #expect(limiter.bucketCount == 2, "the new one, and the one that refused something")
    }

    /// A count that could be forgotten, and is used at the moment at which those are looked for.
    @Test func sweepForgetsNothingThatIsInUse() {
        var clock = Clock()
        let limiter = Limiter([
            Limit(rule: "rate", operations: [.wrap], perSecond: 1, burst: 1), Limit(rule: "day", perDay: 5, per: .key),
        ])
        #expect(admitted(limiter, 1, .wrap, key: "k0", at: clock.moment) == 1)
        for key in 1..<2_000 { _ = limiter.admit(.owner, .unwrap, key: "k\(key)", at: clock.moment) }
        clock.advance(.seconds(60))
        #expect(limiter.admit(.owner, .wrap, key: "new", at: clock.moment) == nil)
        #expect(limiter.admit(.owner, .wrap, key: "newer", at: clock.moment)?.rule == "rate")
    }

    @Test func memoryHasABound() {
        let clock = Clock()
        let limiter = Limiter([Limit(rule: "l", perDay: 1, per: .key)])
        for key in 0..<Limiter.mostBuckets { _ = limiter.admit(.owner, .wrap, key: "k\(key)", at: clock.moment) }
        // Those that come now share one count, and the others keep theirs.
        #expect(admitted(limiter, 1, key: "late", at: clock.moment) == 1)
        #expect(admitted(limiter, 1, key: "later", at: clock.moment) == 0)
        #expect(admitted(limiter, 1, key: "k7", at: clock.moment) == 0)
        #expect(limiter.bucketCount == Limiter.mostBuckets + 1)
    }

    @Test func threadsTakeNoMoreThanThereIs() async {
        let clock = Clock()
        let limiter = Limiter([Limit(rule: "l", perDay: 500)])
        let moment = clock.moment
        let count = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<8 {
                group.addTask { (0..<200).count { _ in limiter.admit(.owner, .wrap, key: "root", at: moment) == nil } }
            }
            return await group.reduce(0, +)
        }
        #expect(count == 500)
        #expect(limiter.reports.first?.refused == 1_100)
    }

    /// A limit that no configuration may hold harms nobody.
    @Test(arguments: [0, -1, .infinity, .nan, 1e300, 1e-300])
    func oddRates(_ perSecond: Double) {
        let clock = Clock()
        let limiter = Limiter([Limit(rule: "l", perSecond: perSecond)])
        #expect(admitted(limiter, 2, at: clock.moment) >= 1)
        #expect(Limiter([Limit(rule: "l", perSecond: perSecond, burst: .max)]).admit(.owner, .wrap, key: nil, at: clock.moment) == nil)
    }
}
