/// The counts of a ``Limiter``.
struct LimitBuckets {
    /// Which limit counts, and for whom and what.
    struct ID: Hashable {
        var limit: Int
        var uid: UInt32?
        var key: KeyName?

        init(_ limit: Int, _ per: Limit.Per, _ principal: Principal, key: KeyName?) {
            self.limit = limit
            if per == .user || per == .userAndKey { uid = principal.uid }
            if per == .key || per == .userAndKey { self.key = key }
        }

        /// Of all that have no count of their own.
        fileprivate init(rest limit: Int) { self.limit = limit }

        /// For people.
        func scope(of principal: Principal) -> String {
            let user = uid.map { uid in principal.user.map { "user \($0)" } ?? "uid \(uid)" }
            let words = [user, key.map { "key \($0)" }].compactMap { $0 }
            return words.isEmpty ? "everyone" : words.joined(separator: ", ")
        }
    }

    struct Refusals {
        var scope: String
        var count: UInt64 = 0
        var lastMilliseconds: UInt64 = 0
    }

    /// What one limit counts for one scope.
    private struct Bucket {
        /// When nothing is used up any more. Far enough ahead, the bucket is empty.
        var full: ContinuousClock.Instant
        var day: UInt64 = 0
        var takenToday = 0
        var refusals: Refusals?

        func isForgettable(at moment: Limiter.Moment) -> Bool {
            full <= moment.instant && (takenToday == 0 || day != moment.day) && refusals == nil
        }
    }

    private static let many = 1_024

    private var buckets: [ID: Bucket] = [:]
    /// When those that can be forgotten are looked for again, if there are many.
    private var nextSweep = ContinuousClock.now

    /// - Parameter old: Whose counts go on, where the limits are the same but for their place.
    init(_ limits: [Limit], continuing old: (limits: [Limit], buckets: LimitBuckets)?) {
        guard let old else { return }
        var unclaimed = Set(limits.indices)
        var moved: [Int: Int] = [:]
        for (index, limit) in old.limits.enumerated() {
            moved[index] = limits.indices.first { unclaimed.contains($0) && limits[$0].countsLike(limit) }
            moved[index].map { _ = unclaimed.remove($0) }
        }
        for (id, bucket) in old.buckets.buckets {
            guard let limit = moved[id.limit] else { continue }
            var id = id
            id.limit = limit
            buckets[id] = bucket
        }
    }

    var count: Int { buckets.count }

    var refusals: [(limit: Int, Refusals)] {
        buckets.compactMap { id, bucket in bucket.refusals.map { (id.limit, $0) } }
            .sorted { ($0.0, $0.1.scope) < ($1.0, $1.1.scope) }
    }

    /// Makes sure that each has a bucket, a full one if it is new.
    ///
    /// - Returns: The ids, with that of the rest for each that is one too many.
    mutating func place(_ ids: [ID], at moment: Limiter.Moment) -> [ID] {
        // Before any is placed: a sweep in between would forget those from which nothing was taken yet.
        if buckets.count >= Self.many, moment.instant >= nextSweep, ids.contains(where: { buckets[$0] == nil }) {
            buckets = buckets.filter { !$0.value.isForgettable(at: moment) }
            nextSweep = moment.instant + .seconds(10)
        }
        return ids.map { wanted in
            let id = buckets[wanted] != nil || buckets.count < Limiter.mostBuckets ? wanted : ID(rest: wanted.limit)
            if buckets[id] == nil { buckets[id] = Bucket(full: moment.instant) }
            return id
        }
    }

    /// How long until so much can be taken; nil if it can be now.
    func wait(for count: Int, _ id: ID, _ limit: Limit, at moment: Limiter.Moment) -> Duration? {
        guard let bucket = buckets[id] else { return nil }
        var wait = Duration.zero
        if let interval = limit.interval {
            let full = max(bucket.full, moment.instant) + interval * count
            wait = moment.instant.duration(to: full) - interval * limit.burst
        }
        if let perDay = limit.perDay, (bucket.day == moment.day ? bucket.takenToday : 0) + count > perDay {
            wait = max(wait, moment.untilTomorrow)
        }
        return wait > .zero ? wait : nil
    }

    mutating func take(_ count: Int, _ id: ID, _ limit: Limit, at moment: Limiter.Moment) {
        guard var bucket = buckets[id] else { return }
        if let interval = limit.interval { bucket.full = max(bucket.full, moment.instant) + interval * count }
        if limit.perDay != nil {
            bucket.takenToday = (bucket.day == moment.day ? bucket.takenToday : 0) + count
            bucket.day = moment.day
        }
        buckets[id] = bucket
    }

    mutating func refuse(_ id: ID, _ principal: Principal, at moment: Limiter.Moment) {
        var refusals = buckets[id]?.refusals ?? Refusals(scope: id.scope(of: principal))
        refusals.count += 1
        refusals.lastMilliseconds = moment.milliseconds
        buckets[id]?.refusals = refusals
    }
}

extension Limiter.Moment {
    private static let millisecondsOfDay: UInt64 = 86_400_000

    /// The UTC day, counted from 1970.
    fileprivate var day: UInt64 { milliseconds / Self.millisecondsOfDay }

    fileprivate var untilTomorrow: Duration {
        .milliseconds(Int64(Self.millisecondsOfDay - milliseconds % Self.millisecondsOfDay))
    }
}

extension Limit {
    /// After which time one more may be done. In whole nanoseconds, so that counting does not drift.
    fileprivate var interval: Duration? {
        // The slowest is one in eleven days, far from any overflow.
        perSecond.map { .nanoseconds(Int64(max(1, min(1e15, 1e9 / max($0, 1e-6))))) }
    }

    /// The same but for its place.
    fileprivate func countsLike(_ other: Limit) -> Bool {
        var other = other
        other.rule = rule
        return self == other
    }
}
