import Dispatch
import Foundation
import Logging
import PKCS11
import Synchronization

/// The connection to the token: who may use it now, and what is known of it. ``TokenKeeper`` makes it and keeps it.
///
/// Threads ``acquire(_:)`` the link for the time of a batch; the module is finalised only when none of them holds it. One
/// that hangs in a call is given up by the ``HangWatch``: then the connection is made anew without finalising the module.
public final class TokenConnection: Sendable {
    public let catalog: KeyCatalog
    let settings: TokenSettings
    let watch: HangWatch
    let health = HealthRecord()
    let log: Logger
    /// Told of each call of the module.
    let observer: CallObserver?
    /// What ``TokenKeeper`` waits on.
    let wake = DispatchSemaphore(value: 0)
    let closed = DispatchSemaphore(value: 0)
    private let state = Mutex(ConnectionState())
    private let interval: Mutex<Duration>
    private let seen: Mutex<SeenState>
    /// The attempt at the PIN that the keeper is making.
    private let attempt = Mutex<PINAttempt?>(nil)
    private let onChange = Mutex<(@Sendable (TokenState) -> Void)?>(nil)

    /// - Parameters:
    ///   - lookInterval: How often the keys on the token are looked at. A change made by another process counts after this
    ///     time at the latest.
    ///   - metrics: Where calls of the module are timed and counted.
    public init(_ settings: TokenSettings, catalog: KeyCatalog, lookInterval: Duration, metrics: VaultMetrics? = nil, log: Logger) {
        self.settings = settings
        observer = metrics?.observer
        self.catalog = catalog
        self.log = log
        interval = Mutex(lookInterval)
        watch = HangWatch(limit: settings.hungLimit, hungAfter: settings.hungAfter)
        seen = Mutex(SeenState())
    }

    /// How often the keys on the token are looked at.
    public var lookInterval: Duration { interval.withLock { $0 } }

    public func setLookInterval(_ interval: Duration) { self.interval.withLock { $0 = interval } }

    /// Who is told of each change of the token's state, on any thread.
    public func onStateChange(_ body: @escaping @Sendable (TokenState) -> Void) { onChange.withLock { $0 = body } }

    /// Starts the threads.
    ///
    /// - Parameter onLook: Called on the keeper's thread after each look.
    func start(onLook: @escaping @Sendable (TokenKeeper.Look) -> Void = { _ in }) {
        watch.start {
            if self.watch.isStuck { self.giveUpAttempt() }
            self.observe()
        }
        TokenKeeper(self, onLook).start()
    }

    /// Finalises the module. No thread may ask for the connection any more.
    ///
    /// - Returns: False if the module was not finalised within `patience`, since a thread is inside: then it must not be
    ///   unloaded, and exit handlers of its own may crash.
    public func close(within patience: Duration = .seconds(3_600)) -> Bool {
        state.withLock { $0.close() }
        wake.signal()
        let isClosed = closed.wait(timeout: .now() + patience.dispatchInterval) == .success
        // Whoever closes again finds it closed.
        if isClosed { closed.signal() }
        watch.stop()
        return isClosed && state.withLock { $0.module == nil }
    }

    /// Looks again, after an operator has done something about a PIN that was refused or locked. A PIN that was refused is not tried
    /// again, unless the operator had the refusal forgotten.
    ///
    /// - Returns: Whether there is something to try.
    public func unlock() -> Bool {
        if let token = state.withLock({ $0.refusedBy }), let attempts = settings.pinAttempts, let pin = try? settings.pin.read(),
            !attempts.allows(pin, on: token)
        {
            return false
        }
        guard state.withLock({ $0.unlock() }) else { return false }
        wake.signal()
        return true
    }

    // MARK: What is known

    /// Whether the HSM is called at all: false if so many threads hang in its module that only a restart helps.
    public var isAlive: Bool { watch.isAlive }

    /// The state as seen from outside.
    public var tokenState: TokenState {
        let hanging = watch.hanging
        if !watch.isAlive {
            return .unavailable(CustodyError(
                .tokenUnavailable, "calls of the HSM's module do not return (\(hanging) of \(watch.limit) that are replaced); restart custodyd",
                retryAfterMilliseconds: 1_000))
        }
        let trouble = hanging > 0 ? "\(hanging) of at most \(watch.limit) threads hang in a call of the HSM's module" : health.trouble
        return state.withLock { state in
            switch state.phase {
            case .ready(let link, _): trouble.map { .degraded(link.token, $0) } ?? .ready(link.token)
            case .connecting, .lost, .closing, .closed: .recovering
            case .locked(let error): .locked(error)
            case .unavailable(let error, _): .unavailable(error)
            }
        }
    }

    /// The state with what is known of the token. Nothing is asked of the token.
    public var report: TokenReport {
        let state = observe()
        var health = health.health
        health.hungThreads = watch.hanging
        health.hungThreadsLimit = watch.limit
        return TokenReport(state: state, sinceMilliseconds: seen.withLock { $0.since }, health: health)
    }

    /// Says so in the log when the state is another one than before.
    @discardableResult
    func observe() -> TokenState {
        let state = tokenState
        guard seen.withLock({ $0.isNews(state) }) else { return state }
        state.write(to: log)
        onChange.withLock { $0 }?(state)
        return state
    }

    // MARK: For threads that call the token

    /// The link, to be given back with ``release(_:)``.
    func acquire(_ thread: CallingThread) throws(CustodyError) -> TokenLink {
        let result: Result<TokenLink, CustodyError> = state.withLock { state in
            switch state.phase {
            case .ready(let link, _):
                state.enter(thread)
                return .success(link)
            case .locked(let error), .unavailable(let error, _): return .failure(error)
            case .connecting, .lost:
                return .failure(CustodyError(.tokenUnavailable, "the HSM is being connected", retryAfterMilliseconds: 100))
            case .closing, .closed:
                return .failure(CustodyError(.shuttingDown, "the daemon is shutting down", retryAfterMilliseconds: 500))
            }
        }
        return try result.get()
    }

    func release(_ thread: CallingThread) {
        let isAwaited = state.withLock { state in
            state.leave(thread)
            return state.isAwaited
        }
        if isAwaited { wake.signal() }
    }

    /// The thread hangs: nobody waits for it any more.
    func strand(_ thread: CallingThread) {
        let isAwaited = state.withLock { state in
            state.strand(thread)
            return state.isAwaited
        }
        if isAwaited { wake.signal() }
    }

    /// Says that the link is of no use any more.
    func lose(_ link: TokenLink, because error: CustodyError) {
        let latestSuccess = health.latestSuccess
        guard state.withLock({ $0.lose(link, because: error, latestSuccess: latestSuccess) }) else { return }
        health.noteLoss()
        log.error("the connection to the token is lost", metadata: ["cause": "\(error.cause ?? error.message)"])
        observe()
        wake.signal()
    }

    // MARK: For the keeper

    func note(_ attempt: PINAttempt?) { self.attempt.withLock { $0 = attempt } }

    /// The login does not return: a token that can't be reached has said nothing of the PIN, and a service manager that restarts the
    /// daemon for it must not make it look as if it had.
    private func giveUpAttempt() {
        guard let attempt = attempt.withLock({ $0.take() }) else { return }
        do throws(CustodyError) { try attempt.end(.noAnswer) } catch {
            log.warning("an attempt at the PIN that hangs counts as one that was not answered", metadata: ["cause": "\(error.message)"])
        }
    }

    func withState<R>(_ body: (inout sending ConnectionState) -> sending R) -> sending R { state.withLock(body) }
}

/// The state that was last told of.
private struct SeenState {
    private var name = "recovering"
    private var detail: String?
    private var toldAt = ContinuousClock.now
    var since = WallClock.milliseconds

    /// Another reason for the same state is news too, though not many times a minute.
    mutating func isNews(_ state: TokenState) -> Bool {
        let isChange = state.name != name
        guard isChange || state.detail != detail && toldAt.duration(to: .now) > .seconds(10) else { return false }
        if isChange { since = WallClock.milliseconds }
        name = state.name
        detail = state.detail
        toldAt = .now
        return true
    }
}

extension TokenState {
    fileprivate func write(to log: Logger) {
        switch self {
        case .ready(let token):
            log.notice("token ready", metadata: ["token": "\(token.label)", "serial": "\(token.serial)"])
        case .degraded(let token, let reason):
            log.warning("token degraded", metadata: ["token": "\(token.label)", "serial": "\(token.serial)", "reason": "\(reason)"])
        case .recovering:
            log.notice("token recovering")
        case .locked(let error), .unavailable(let error):
            log.error("token \(name)", metadata: ["reason": "\(error.message)", "cause": "\(error.cause ?? "none")"])
        }
    }
}

extension Duration {
    var dispatchInterval: DispatchTimeInterval {
        .milliseconds(Int(components.seconds) * 1_000 + Int(components.attoseconds / 1_000_000_000_000_000) + 1)
    }
}
