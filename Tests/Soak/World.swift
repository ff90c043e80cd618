import CustodyProtocol
import Synchronization

/// What is true now, as far as the model needs it to judge an answer.
final class World: Sendable {
    private struct State {
        var sky: Sky
        /// Whether the tenant `banned` is denied.
        var ban = Switch(false)
        /// Whether the key `second` is enabled.
        var second = Switch(true)
        /// The newest version of the key `root`.
        var newest = Switch<UInt32>(1)
        /// The highest version that there can be.
        var highest: UInt32 = 1
        var failingSince: String?
        var isPaused = false
        var inFlight = 0
        var isOver = false
        /// Who still has something to do that has to happen once.
        var due: Set<String> = ["weather", "operators"]
    }

    /// What was known when a request began.
    struct Snapshot: Sendable {
        let began = ContinuousClock.now
        fileprivate let ban: Switch<Bool>.Snapshot
        fileprivate let second: Switch<Bool>.Snapshot
        fileprivate let newest: Switch<UInt32>.Snapshot
    }

    /// What was true for the whole time of a request; nil where it changed meanwhile.
    struct Truth: Sendable {
        let isClear: Bool
        let tolerated: Set<ErrorCode>
        let isBanned: Bool?
        let isSecondEnabled: Bool?
        let newest: UInt32?
        let highest: UInt32
    }

    private let state: Mutex<State>
    private let book: Book

    init(_ book: Book, proof: Duration) {
        self.book = book
        state = Mutex(State(sky: Sky(proof: proof)))
    }

    // MARK: Requests

    func snapshot() -> Snapshot {
        state.withLock { Snapshot(ban: $0.ban.snapshot, second: $0.second.snapshot, newest: $0.newest.snapshot) }
    }

    func truth(since snapshot: Snapshot) -> Truth {
        state.withLock { state in
            Truth(
                isClear: state.sky.isClear(since: snapshot.began), tolerated: state.sky.tolerated,
                isBanned: state.ban.known(since: snapshot.ban), isSecondEnabled: state.second.known(since: snapshot.second),
                newest: state.newest.known(since: snapshot.newest), highest: state.highest)
        }
    }

    /// Whether a request may begin; it must be told of by ``left()`` then.
    func enter() -> Bool {
        state.withLock { state in
            guard !state.isPaused else { return false }
            state.inFlight += 1
            return true
        }
    }

    func left() { state.withLock { $0.inFlight -= 1 } }

    /// No request begins until it is let go on.
    func pause(_ isPaused: Bool) { state.withLock { $0.isPaused = isPaused } }

    var isIdle: Bool { state.withLock { $0.inFlight == 0 } }

    func finish() { state.withLock { $0.isOver = true } }
    /// Everything that this one makes happen has happened once.
    func done(_ who: String) { _ = state.withLock { $0.due.remove(who) } }
    var isAllDone: Bool { state.withLock { $0.due.isEmpty } }
    var isOver: Bool { state.withLock { $0.isOver } }

    // MARK: The sky

    var isClear: Bool { state.withLock { $0.sky.isClear } }

    func disturb(_ name: String, tolerating codes: Set<ErrorCode> = []) {
        state.withLock { $0.sky.begin(tolerating: codes) }
        book.note("begins: \(name)")
    }

    func calm(_ name: String, kind: String) {
        state.withLock { $0.sky.end(kind) }
        book.note("ends: \(name)")
    }

    func probed(began: ContinuousClock.Instant, isServed: Bool) {
        switch state.withLock({ $0.sky.probed(began: began, isServed: isServed) }) {
        case .served(let name, let after):
            state.withLock { $0.failingSince = nil }
            book.recovered(from: name, after: after)
        case .failing(let name, let after):
            let isNews = state.withLock { state in
                defer { state.failingSince = name }
                return state.failingSince == nil
            }
            if isNews { book.violation(.lost, "no service for \(after.inMilliseconds) ms after \(name)") }
        case nil: break
        }
    }

    // MARK: What operators change

    func changeBan() { state.withLock { $0.ban.change() } }
    func settleBan(_ isBanned: Bool) { state.withLock { $0.ban.settle(isBanned) } }
    func changeSecond() { state.withLock { $0.second.change() } }
    func settleSecond(_ isEnabled: Bool) { state.withLock { $0.second.settle(isEnabled) } }
    func beginRotation() {
        state.withLock { state in
            state.newest.change()
            state.highest += 1
        }
    }
    func settleRotation(_ version: UInt32) {
        state.withLock { state in
            state.newest.settle(version)
            state.highest = version
        }
    }
    var highestVersion: UInt32 { state.withLock { $0.highest } }
}
