import DequeModule
import Synchronization

/// How long opened master keys are kept.
public struct MasterKeyCacheLimits: Sendable {
    /// From the opening on, however often the key is used meanwhile.
    public var age: Duration
    /// How often a key is handed out before it is opened again.
    public var uses: Int
    /// How many keys are kept; beyond, the oldest goes. Should be more than the tenants that are served at a time.
    public var keys: Int

    public init(age: Duration = .seconds(300), uses: Int = 1_000_000, keys: Int = 10_000) {
        self.age = age
        self.uses = max(1, uses)
        self.keys = max(1, keys)
    }
}

/// Opened keys within their limits. Keys whose time is over go by themselves, asked for or not.
final class MasterKeyCache: Sendable {
    typealias Opening = Result<OpenedMasterKey, MasterKeyError>

    private struct Kept {
        let key: OpenedMasterKey
        let flight: UInt64
        let end: ContinuousClock.Instant
        var usesLeft: Int
    }

    private struct State {
        var kept: [TenantName: Kept] = [:]
        /// The kept keys as they came; all have the same age limit, so the first is the first to go.
        var order: Deque<(tenant: TenantName, flight: UInt64, end: ContinuousClock.Instant)> = []
        /// The opening that is under way for a tenant.
        var underWay: [TenantName: UInt64] = [:]
        /// Who waits for an opening, also after its tenant was dropped. nil for one that is over.
        var waiting: [UInt64: [CheckedContinuation<Opening?, Never>]] = [:]
        var nextFlight: UInt64 = 0
        var sweeper: Task<Void, Never>?

        /// A kept key, if its limits allow a further use.
        mutating func use(_ tenant: TenantName, at now: ContinuousClock.Instant) -> OpenedMasterKey? {
            guard var entry = kept[tenant] else { return nil }
            guard entry.end > now else {
                kept[tenant] = nil
                return nil
            }
            entry.usesLeft -= 1
            kept[tenant] = entry.usesLeft > 0 ? entry : nil
            return entry.key
        }

        mutating func removeOldest() {
            guard let oldest = order.popFirst() else { return }
            if kept[oldest.tenant]?.flight == oldest.flight { kept[oldest.tenant] = nil }
        }
    }

    private let limits: MasterKeyCacheLimits
    private let state = Mutex(State())

    init(_ limits: MasterKeyCacheLimits) { self.limits = limits }

    deinit { state.withLock { $0.sweeper?.cancel() } }

    /// The kept key, or that of the opening under way, or else of a new one.
    func key(
        of tenant: TenantName, opening: () async throws(MasterKeyError) -> OpenedMasterKey
    ) async throws(MasterKeyError) -> OpenedMasterKey {
        enum Way {
            case kept(OpenedMasterKey)
            case join(UInt64)
            case open(UInt64)
        }
        while true {
            let way: Way = state.withLock { state in
                if let key = state.use(tenant, at: .now) { return .kept(key) }
                if let flight = state.underWay[tenant] { return .join(flight) }
                let flight = state.nextFlight
                state.nextFlight += 1
                state.underWay[tenant] = flight
                state.waiting[flight] = []
                return .open(flight)
            }
            switch way {
            case .kept(let key): return key
            case .open(let flight): return try await open(tenant, flight, opening)
            case .join(let flight):
                // nil: it was over before we joined, or its task was cancelled, which is not our failure.
                if let result = await result(of: flight) { return try result.get() }
            }
        }
    }

    private func result(of flight: UInt64) async -> Opening? {
        await withCheckedContinuation { continuation in
            let isUnderWay = state.withLock { state in
                state.waiting[flight]?.append(continuation) != nil
            }
            if !isUnderWay { continuation.resume(returning: nil) }
        }
    }

    private func open(
        _ tenant: TenantName, _ flight: UInt64, _ opening: () async throws(MasterKeyError) -> OpenedMasterKey
    ) async throws(MasterKeyError) -> OpenedMasterKey {
        var result: Opening
        do throws(MasterKeyError) { result = .success(try await opening()) } catch { result = .failure(error) }
        let opened = result
        let (waiters, isDropped) = state.withLock { state in
            let waiters = state.waiting.removeValue(forKey: flight) ?? []
            guard state.underWay[tenant] == flight else { return (waiters, true) }
            state.underWay[tenant] = nil
            if case .success(let key) = opened { keep(key, of: tenant, flight, usedBy: waiters.count + 1, &state) }
            return (waiters, false)
        }
        if isDropped, case .success(let key) = result {
            key.drop()
            result = .failure(MasterKeyError(
                .masterKeyDropped, "the master key of tenant \(tenant) was dropped while it was being opened", advice: "open it again"))
        }
        let isCancelled = if case .failure(let error) = result { error.code == .cancelled } else { false }
        for waiter in waiters { waiter.resume(returning: isCancelled ? nil : result) }
        return try result.get()
    }

    private func keep(_ key: OpenedMasterKey, of tenant: TenantName, _ flight: UInt64, usedBy count: Int, _ state: inout State) {
        guard limits.uses > count, limits.age > .zero else { return }
        let end = ContinuousClock.now + limits.age
        state.kept[tenant] = Kept(key: key, flight: flight, end: end, usesLeft: limits.uses - count)
        state.order.append((tenant, flight, end))
        while state.kept.count > limits.keys { state.removeOldest() }
        // Keys that were used up and opened again have left their earlier places behind.
        if state.order.count > 2 * state.kept.count + 64 { state.order.removeAll { state.kept[$0.tenant]?.flight != $0.flight } }
        if state.sweeper == nil { state.sweeper = Task { [weak self] in await Self.sweep { self } } }
    }

    /// Forgets keys as their time comes, until there are none. Holds the cache only while it looks.
    private static func sweep(_ cache: () -> MasterKeyCache?) async {
        while let end = cache()?.removeExpired() {
            do { try await Task.sleep(until: end, clock: .continuous) } catch { return }
        }
    }

    /// - Returns: When the next one's time is over; nil if none is left.
    private func removeExpired() -> ContinuousClock.Instant? {
        state.withLock { state in
            let now = ContinuousClock.now
            while let oldest = state.order.first, oldest.end <= now { state.removeOldest() }
            if state.order.isEmpty { state.sweeper = nil }
            return state.order.first?.end
        }
    }

    /// How many places in the order of expiry are taken; for the tests.
    var placesHeld: Int { state.withLock { $0.order.count } }

    func drop(_ tenant: TenantName) {
        state.withLock { state in
            state.underWay[tenant] = nil
            return state.kept.removeValue(forKey: tenant)
        }?.key.drop()
    }

    func dropAll() {
        let kept = state.withLock { state in
            state.underWay = [:]
            state.order = []
            defer { state.kept = [:] }
            return state.kept
        }
        for entry in kept.values { entry.key.drop() }
    }
}
