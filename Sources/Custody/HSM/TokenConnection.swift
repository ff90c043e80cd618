import Dispatch
import Foundation
import Logging
import PKCS11
import Synchronization

/// Keeps the connection to the token: connects, looks at the keys again and again, and connects anew when it is lost.
///
/// One thread of its own, the keeper, does all of that. Workers ``acquire()`` the link for the time of a batch; the module
/// is finalised only when none of them holds it.
public final class TokenConnection: Sendable {
    private enum Phase {
        case connecting
        case ready(TokenLink, since: ContinuousClock.Instant)
        /// A worker met a fault; the module is finalised as soon as no worker uses it.
        case lost(TokenLink, CustodyError)
        case locked(CustodyError)
        case unavailable(CustodyError, retryAt: ContinuousClock.Instant)
        case closing(TokenLink?)
        case closed
    }

    private struct State {
        var phase = Phase.connecting
        var users = 0
        var failures = 0
    }

    /// One look at the keys on the token.
    struct Look: Sendable {
        let ring: KeyRing
        /// The first one after the token was connected.
        let isFirst: Bool
    }

    public let catalog: KeyCatalog
    private let settings: TokenSettings
    private let lookInterval: Mutex<Duration>
    private let log: Logger
    private let state = Mutex(State())
    private let wake = DispatchSemaphore(value: 0)
    private let closed = DispatchSemaphore(value: 0)

    /// - Parameter lookInterval: How often the keys on the token are looked at. A change made by another process counts
    ///   after this time at the latest.
    public init(_ settings: TokenSettings, catalog: KeyCatalog, lookInterval: Duration, log: Logger) {
        self.settings = settings
        self.catalog = catalog
        self.lookInterval = Mutex(lookInterval)
        self.log = log
    }

    public func setLookInterval(_ interval: Duration) { lookInterval.withLock { $0 = interval } }

    /// Starts the keeper's thread.
    ///
    /// - Parameter onLook: Called on that thread after each look.
    func start(onLook: @escaping @Sendable (Look) -> Void = { _ in }) {
        let thread = Thread { self.keep(onLook) }
        thread.name = "token-keeper"
        thread.start()
    }

    /// Finalises the module and returns when that is done. No worker may be running any more.
    public func close() {
        state.withLock { state in
            switch state.phase {
            case .ready(let link, _), .lost(let link, _): state.phase = .closing(link)
            case .connecting, .locked, .unavailable: state.phase = .closing(nil)
            case .closing, .closed: break
            }
        }
        wake.signal()
        closed.wait()
        // Whoever closes again finds it closed.
        closed.signal()
    }

    /// The state as seen from outside.
    public var tokenState: TokenState {
        state.withLock { state in
            switch state.phase {
            case .ready(let link, _): .ready(link.token)
            case .connecting, .lost, .closing, .closed: .recovering
            case .locked(let error): .locked(error)
            case .unavailable(let error, _): .unavailable(error)
            }
        }
    }

    /// The state with what is known of the token.
    public var report: TokenReport { TokenReport(state: tokenState, sinceMilliseconds: 0) }

    var readWriteSessions: Bool { settings.readWriteSessions }

    // MARK: For workers

    /// The link, to be given back with ``release()``.
    func acquire() throws(CustodyError) -> TokenLink {
        let result: Result<TokenLink, CustodyError> = state.withLock { state in
            switch state.phase {
            case .ready(let link, _):
                state.users += 1
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

    func release() {
        let isAwaited = state.withLock { state in
            state.users -= 1
            if case .ready = state.phase { return false }
            return state.users == 0
        }
        if isAwaited { wake.signal() }
    }

    /// Says that the link is of no use any more.
    func lose(_ link: TokenLink, because error: CustodyError) {
        let isNews = state.withLock { state in
            guard case .ready(let current, let since) = state.phase, current === link else { return false }
            state.phase = .lost(link, error)
            // A token that logs in but does not work must not be finalised and logged in to with every request.
            if since.duration(to: .now) > Self.healthyLife { state.failures = 0 }
            return true
        }
        if isNews {
            log.error("the connection to the token is lost", metadata: ["cause": "\(error.cause ?? error.message)"])
            wake.signal()
        }
    }

    /// How long a connection must have lived to be tried again without a pause.
    private static let healthyLife = Duration.seconds(30)

    /// The phase after a failure: from 100 ms to 30 s, doubling, with up to a half more at random.
    private static func pause(_ state: inout State, _ error: CustodyError) -> Phase {
        let base = min(30_000, 100 << min(state.failures, 9))
        state.failures += 1
        return .unavailable(error, retryAt: .now + .milliseconds(base + Int.random(in: 0...base / 2)))
    }

    // MARK: The keeper's thread

    private enum Step {
        case connect
        case look(TokenLink)
        case dismantle(TokenLink, CustodyError)
        case wait(Duration)
        case finish(TokenLink?)
    }

    private func keep(_ onLook: (Look) -> Void) {
        var pause: Duration = .zero
        while true {
            if pause > .zero { _ = wake.wait(timeout: .now() + pause.dispatchInterval) }
            switch nextStep() {
            case .connect:
                connect(onLook)
                pause = .zero
            case .look(let link):
                do throws(PKCS11Error) {
                    // Some modules show a token that has vanished as one without objects: it says itself that it is there.
                    try checkPresence(link)
                    try catalog.refresh(link.loginSession)
                    onLook(Look(ring: catalog.ring, isFirst: false))
                } catch {
                    lose(link, because: TokenLink.unavailable(error))
                }
                pause = lookInterval.withLock { $0 }
            case .dismantle(let link, let error):
                dismantle(link)
                state.withLock { state in
                    guard case .lost = state.phase else { return }
                    if state.failures == 0 {
                        state.failures = 1
                        state.phase = .connecting
                    } else {
                        state.phase = Self.pause(&state, error)
                    }
                }
                pause = .zero
            case .wait(let duration):
                pause = duration
            case .finish(let link):
                if let link { dismantle(link) }
                state.withLock { $0.phase = .closed }
                closed.signal()
                return
            }
        }
    }

    private func nextStep() -> Step {
        state.withLock { state in
            switch state.phase {
            case .connecting: return .connect
            case .ready(let link, _): return .look(link)
            case .lost(let link, let error): return state.users == 0 ? .dismantle(link, error) : .wait(.seconds(1))
            case .locked: return .wait(.seconds(3_600))
            case .unavailable(_, let retryAt):
                let now = ContinuousClock.now
                guard now >= retryAt else { return .wait(retryAt - now) }
                state.phase = .connecting
                return .connect
            case .closing(let link): return state.users == 0 ? .finish(link) : .wait(.seconds(1))
            case .closed: return .finish(nil)
            }
        }
    }

    /// Asked three times: SoftHSM writes its token's file anew at every login of anybody, and shows another token, or none, to
    /// who reads it at that moment.
    private func checkPresence(_ link: TokenLink) throws(PKCS11Error) {
        var failure = PKCS11Error(.getTokenInfo, .tokenNotRecognized)
        for attempt in 1...3 {
            do throws(PKCS11Error) {
                let token = try link.module.tokenInfo(link.token.slot)
                if token.serial == link.token.serial, token.label == link.token.label { return }
            } catch {
                failure = error
            }
            if attempt < 3 { Thread.sleep(forTimeInterval: 0.02) }
        }
        throw failure
    }

    private func connect(_ onLook: (Look) -> Void) {
        catalog.reset()
        do throws(CustodyError) {
            let link = try TokenLink.connect(settings)
            do throws(PKCS11Error) {
                try catalog.refresh(link.loginSession)
            } catch {
                dismantle(link)
                throw TokenLink.unavailable(error)
            }
            let isWanted = state.withLock { state in
                guard case .connecting = state.phase else { return false }
                state.phase = .ready(link, since: .now)
                return true
            }
            guard isWanted else { return dismantle(link) }
            log.notice("token ready", metadata: ["token": "\(link.token.label)", "serial": "\(link.token.serial)"])
            report(catalog.ring)
            onLook(Look(ring: catalog.ring, isFirst: true))
        } catch {
            var error = error
            if error.code == .tokenLocked { error.message += "; no further try is made until custodyd is restarted" }
            state.withLock { state in
                guard case .connecting = state.phase else { return }
                if error.code == .tokenLocked {
                    state.phase = .locked(error)
                } else {
                    state.phase = Self.pause(&state, error)
                }
            }
            log.error("the token is not usable", metadata: ["code": "\(error.code.rawValue)", "reason": "\(error.message)", "cause": "\(error.cause ?? "none")"])
        }
    }

    private func report(_ ring: KeyRing) {
        for (name, versions) in ring.keys {
            for version in versions {
                if case .refused(let reason) = version.state {
                    log.warning("key refused", metadata: ["reason": "\(reason)"])
                } else {
                    log.info("key", metadata: ["key": "\(name)", "version": "\(version.version)", "id": "\(version.id)", "exception": "\(version.exception ?? "none")"])
                }
            }
        }
    }

    private func dismantle(_ link: TokenLink) {
        do {
            try link.module.finalize()
        } catch {
            log.warning("C_Finalize failed", metadata: ["cause": "\(error)"])
        }
    }
}

extension Duration {
    var dispatchInterval: DispatchTimeInterval {
        .milliseconds(Int(components.seconds) * 1_000 + Int(components.attoseconds / 1_000_000_000_000_000) + 1)
    }
}
