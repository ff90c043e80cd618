import CustodyProtocol
import Synchronization

/// Whether something disturbs the daemon now, and what its callers must put up with meanwhile.
struct Sky {
    private enum Phase {
        case clear(since: ContinuousClock.Instant)
        /// So many disturbances at once.
        case disturbed(Int)
        /// The last one has ended; the daemon may need a moment.
        case recovering(since: ContinuousClock.Instant, firstSuccess: ContinuousClock.Instant?)
    }

    /// For how long the daemon must serve without a failure until the disturbance counts as over: what was spoilt in an
    /// idle session shows later than at the first success.
    private let proof: Duration

    private var phase = Phase.clear(since: .now)
    private var name = ""
    /// Errors beyond those that any disturbance excuses.
    private(set) var tolerated: Set<ErrorCode> = []

    init(proof: Duration) { self.proof = proof }

    var isClear: Bool { if case .clear = phase { true } else { false } }

    /// Whether nothing has disturbed since then.
    func isClear(since start: ContinuousClock.Instant) -> Bool {
        if case .clear(let since) = phase { since <= start } else { false }
    }

    mutating func begin(tolerating codes: Set<ErrorCode>) {
        switch phase {
        case .clear:
            phase = .disturbed(1)
            tolerated = codes
        case .recovering:
            phase = .disturbed(1)
            tolerated.formUnion(codes)
        case .disturbed(let count):
            phase = .disturbed(count + 1)
            tolerated.formUnion(codes)
        }
    }

    mutating func end(_ name: String) {
        guard case .disturbed(let count) = phase else { return }
        self.name = name
        phase = count > 1 ? .disturbed(count - 1) : .recovering(since: .now, firstSuccess: nil)
    }

    enum News { case served(String, Duration), failing(String, Duration) }

    /// What somebody who asks again and again was told.
    mutating func probed(began: ContinuousClock.Instant, isServed: Bool) -> News? {
        guard case .recovering(let since, let firstSuccess) = phase, began >= since else { return nil }
        let now = ContinuousClock.now
        switch (isServed, firstSuccess) {
        case (true, nil):
            phase = .recovering(since: since, firstSuccess: now)
            return .served(name, since.duration(to: now))
        case (true, let first?):
            if first.duration(to: now) > proof { phase = .clear(since: now) }
            return nil
        case (false, _):
            // It serves, and fails again: the proof begins anew.
            if firstSuccess != nil { phase = .recovering(since: since, firstSuccess: nil) }
            return since.duration(to: now) > .seconds(60) ? .failing(name, since.duration(to: now)) : nil
        }
    }
}

/// Something that an operator changes: known, except while it is being changed.
struct Switch<Value: Sendable & Equatable>: Sendable {
    private var value: Value?
    private var changes = 0

    init(_ value: Value) { self.value = value }

    struct Snapshot: Sendable { fileprivate let changes: Int }

    var snapshot: Snapshot { Snapshot(changes: changes) }

    mutating func change() {
        value = nil
        changes += 1
    }

    mutating func settle(_ value: Value) {
        self.value = value
        changes += 1
    }

    /// What it was all the time since then; nil if it changed or is being changed.
    func known(since snapshot: Snapshot) -> Value? { snapshot.changes == changes ? value : nil }
}
