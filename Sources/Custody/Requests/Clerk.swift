import DequeModule
import Dispatch
import Foundation
import Synchronization

/// What needs no HSM: status, reloading, and answers to what is refused. One thread writes their audit records, many at a
/// time, so that neither the event loop nor a worker waits for the disk because of them.
///
/// What is refused is held back for a moment, and an account that has more written than ``LinePace`` gives it waits longer:
/// a storm of refused requests neither takes time from the others nor fills the log. Accounts are served in turn.
final class Clerk: Sendable {
    struct Errand: Sendable {
        enum Matter: Sendable {
            /// Its judgements are recorded and answered here.
            case record
            /// It had to wait, and goes on from here: some of its operations need the HSM.
            case proceed(@Sendable () -> Void)
            /// It is answered and not recorded: nothing was decided.
            case turnAway(CustodyError)
        }

        let request: CustodyRequest
        let judgements: [Judgement]
        /// Who pays for it.
        let account: UInt32
        /// What its lines cost: see ``LinePace``.
        let units: Int
        var matter = Matter.record
        let completion: @Sendable (CustodyReply) -> Void
    }

    private struct State {
        var errands = FairQueue<Errand>(limit: .max, limitPerUser: .max)
        /// What is held back, and until when; in that order.
        var held = Deque<(until: ContinuousClock.Instant, errand: Errand)>()
        /// How many errands and held ones each account has here.
        var counts: [UInt32: Int] = [:]
        var pace = LinePace()
        var isIdle = false
        /// When the idle thread wakes by itself.
        var wakesAt: ContinuousClock.Instant?
        var isStopping = false

        var count: Int { errands.count + held.count }

        mutating func hold(_ errand: Errand, until: ContinuousClock.Instant) {
            let later = held.reversed().prefix { $0.until > until }.count
            held.insert((until, errand), at: held.count - later)
        }

        /// Whether the thread has to be woken, for what is due now or then.
        mutating func wakes(for due: ContinuousClock.Instant? = nil) -> Bool {
            guard isIdle else { return false }
            if let due, let wakesAt, wakesAt <= due { return false }
            isIdle = false
            return true
        }

        mutating func take() -> Errand? {
            guard let errand = errands.popFirst() else { return nil }
            let left = (counts[errand.account] ?? 1) - 1
            counts[errand.account] = left == 0 ? nil : left
            return errand
        }
    }

    /// How many may wait of all accounts, and of one. What they hold in memory is bounded where it comes in.
    private let limit: Int
    private let limitPerAccount: Int
    private let state = Mutex(State())
    private let wake = DispatchSemaphore(value: 0)
    private let ended = DispatchSemaphore(value: 0)
    /// How many errands share one write, and at what size of their lines it is enough: while the log writes them nobody else
    /// can.
    private let batch = 64
    private let unitsOfBatch = 512

    /// For how long a refusal is held back. Whoever is past a limit gains nothing by another try at once, and a storm of
    /// refused requests then takes no time from the others: its requests in flight are bounded.
    private static let pause = Duration.milliseconds(50)

    /// - Parameter limit: Half of it is what one account may have waiting, held back ones included.
    init(limit: Int) {
        self.limit = 4 * limit
        limitPerAccount = max(1, limit / 2)
    }

    func start(_ serve: @escaping @Sendable ([Errand]) -> Void) {
        let thread = Thread {
            while let errands = self.next() { Self.deal(with: errands, serve) }
            self.ended.signal()
        }
        thread.name = "clerk"
        thread.start()
    }

    private static func deal(with errands: [Errand], _ serve: ([Errand]) -> Void) {
        var recorded: [Errand] = []
        for errand in errands {
            switch errand.matter {
            case .record: recorded.append(errand)
            case .proceed(let body): body()
            case .turnAway(let error): errand.completion(errand.request.items.map { _ in .failure(error) })
            }
        }
        if !recorded.isEmpty { serve(recorded) }
    }

    /// - Parameter isHeld: It is a refusal that is not answered at once.
    /// - Throws: ``CustodyError`` with `overloaded` or `shuttingDown`.
    func submit(_ errand: Errand, isHeld: Bool = false) throws(CustodyError) {
        let verdict: Result<Bool, CustodyError> = state.withLock { state in
            guard !state.isStopping else {
                return .failure(CustodyError(.shuttingDown, "the daemon is shutting down", retryAfterMilliseconds: 500))
            }
            let own = state.counts[errand.account] ?? 0
            guard state.count < limit, own < limitPerAccount else {
                let whose = own < limitPerAccount ? "the daemon has \(limit)" : "this user has \(own)"
                return .failure(CustodyError(.overloaded, "\(whose) answers to record already", retryAfterMilliseconds: 50))
            }
            state.counts[errand.account] = own + 1
            let now = ContinuousClock.now
            guard let wait = state.pace.take(errand.units, of: errand.account, now: now) else {
                var errand = errand
                errand.matter = .turnAway(Self.tooFast)
                state.hold(errand, until: now + LinePace.patience)
                return .success(state.wakes(for: now + LinePace.patience))
            }
            let pause = isHeld ? max(wait, Self.pause) : wait
            if pause > .zero {
                state.hold(errand, until: now + pause)
                return .success(state.wakes(for: now + pause))
            }
            _ = state.errands.append(errand, of: errand.account)
            return .success(state.wakes())
        }
        if try verdict.get() { wake.signal() }
    }

    private static let tooFast = CustodyError(
        .overloaded, "this user's refused and status requests come faster than \(LinePace.rate) a second; nothing was decided of this one",
        retryAfterMilliseconds: 2_000)

    /// Takes no more errands and returns when those that wait are done, or after `patience`.
    func stop(within patience: Duration) {
        let isIdle = state.withLock { state in
            state.isStopping = true
            return state.wakes()
        }
        if isIdle { wake.signal() }
        _ = ended.wait(timeout: .now() + patience.dispatchInterval)
        // Whoever stops again finds it ended.
        ended.signal()
    }

    /// Waits for errands; nil when there will be no more.
    private func next() -> [Errand]? {
        while true {
            let (errands, next): ([Errand]?, ContinuousClock.Instant?) = state.withLock { state in
                let now = ContinuousClock.now
                while let first = state.held.first, first.until <= now || state.isStopping {
                    _ = state.errands.append(first.errand, of: first.errand.account)
                    state.held.removeFirst()
                }
                var errands: [Errand] = []
                var units = 0
                while errands.count < batch, units < unitsOfBatch, let errand = state.take() {
                    errands.append(errand)
                    units += errand.units
                }
                guard errands.isEmpty else { return (errands, nil) }
                state.isIdle = !state.isStopping
                state.wakesAt = state.held.first?.until
                return (state.isStopping ? nil : [], state.wakesAt)
            }
            guard let errands else { return nil }
            if !errands.isEmpty { return errands }
            if let next {
                _ = wake.wait(timeout: .now() + ContinuousClock.now.duration(to: next).dispatchInterval)
            } else {
                wake.wait()
            }
        }
    }
}
