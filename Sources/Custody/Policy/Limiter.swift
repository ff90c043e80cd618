import Synchronization

/// Counts what is done against the limits. It counts for one daemon and forgets at its end.
public final class Limiter: Sendable {
    /// A point in time on the two clocks that limits go by: rates by one that never jumps, days by the calendar's.
    public struct Moment: Sendable {
        public var instant: ContinuousClock.Instant
        public var milliseconds: UInt64

        /// - Parameter milliseconds: Since 1970.
        public init(instant: ContinuousClock.Instant, milliseconds: UInt64) {
            self.instant = instant
            self.milliseconds = milliseconds
        }

        public static var now: Moment {
            Moment(instant: .now, milliseconds: WallClock.milliseconds)
        }
    }

    /// Why something is not admitted for now.
    public struct Refusal: Sendable, Equatable {
        /// The limit's place.
        public let rule: String
        /// Whose or what's count is used up.
        public let scope: String
        /// After how long the same is admitted, if nothing else comes in between.
        public let retryAfterMilliseconds: Int
    }

    /// More counts at once than this share one per limit, so that nobody fills the memory by naming ever new things.
    static let mostBuckets = 65_536

    private let limits: [Limit]
    private let buckets: Mutex<LimitBuckets>

    /// - Parameter old: Limits that are the same but for their place go on counting where it stands.
    public init(_ limits: [Limit], continuing old: Limiter? = nil) {
        self.limits = limits
        buckets = Mutex(LimitBuckets(limits, continuing: old?.snapshot))
    }

    /// Takes from every limit that is concerned, or from none if one of them has not enough left.
    ///
    /// - Parameters:
    ///   - key: The name of a key that exists; nil if that is not known, and then only limits of all keys are concerned.
    ///   - wasUnknown: It was admitted already when its key was not known: only what could not be counted then is.
    ///   - count: How often it is to be done at once. More than a limit's burst is never admitted.
    ///   - moment: Now, but for tests.
    /// - Returns: nil if it is admitted, else the refusal that lasts longest.
    public func admit(
        _ principal: Principal, _ kind: Operation.Kind, key: KeyName?, wasUnknown: Bool = false, count: Int = 1,
        at moment: @autoclosure () -> Moment = .now
    ) -> Refusal? {
        func concerns(_ limit: Limit) -> Bool {
            guard limit.concerns(principal, kind, key: key) else { return false }
            return !wasUnknown || limit.per.countsKeys || !limit.concerns(principal, kind, key: nil)
        }
        // This is on the way of every operation: whom no limit concerns pays for nothing more than this look.
        guard limits.contains(where: concerns) else { return nil }
        return buckets.withLock { buckets in
            let moment = moment()
            let ids = limits.indices.filter { concerns(limits[$0]) }.map { index in
                LimitBuckets.ID(index, limits[index].per, principal, key: key)
            }
            let concerned = buckets.place(ids, at: moment)
            var refusal: (wait: Duration, id: LimitBuckets.ID)?
            for id in concerned {
                guard let wait = buckets.wait(for: count, id, limits[id.limit], at: moment) else { continue }
                buckets.refuse(id, principal, at: moment)
                if refusal.map({ $0.wait < wait }) ?? true { refusal = (wait, id) }
            }
            if let refusal {
                return Refusal(
                    rule: limits[refusal.id.limit].rule, scope: refusal.id.scope(of: principal),
                    retryAfterMilliseconds: Int((refusal.wait / .milliseconds(1)).rounded(.up)))
            }
            for id in concerned { buckets.take(count, id, limits[id.limit], at: moment) }
            return nil
        }
    }

    /// What was refused since the start, an entry for each count that refused something.
    public var reports: [LimitReport] {
        buckets.withLock { buckets in
            buckets.refusals.map { limit, refusals in
                LimitReport(
                    rule: limits[limit].rule, scope: refusals.scope, refused: refusals.count,
                    lastRefusedMilliseconds: refusals.lastMilliseconds)
            }
        }
    }

    /// How many counts are kept.
    var bucketCount: Int { buckets.withLock(\.count) }

    private var snapshot: (limits: [Limit], buckets: LimitBuckets) { buckets.withLock { (limits, $0) } }
}
