import PKCS11

/// Where the connection to the token stands, and which threads are inside the module on its behalf.
struct ConnectionState {
    enum Phase {
        case connecting
        case ready(TokenLink, since: ContinuousClock.Instant)
        /// A thread met a fault; the connection is taken down as soon as nobody uses it.
        case lost(TokenLink, CustodyError)
        case locked(CustodyError)
        case unavailable(CustodyError, retryAt: ContinuousClock.Instant)
        case closing(TokenLink?)
        /// Holds on to a link that was not finalised: closing its session could hang.
        case closed(TokenLink?)
    }

    /// What the keeper does next.
    enum Step {
        case connect
        case look(TokenLink)
        /// - Parameter isWhole: The module is finalised too, since nobody is inside.
        case dismantle(isWhole: Bool)
        case wait(Duration)
        case finish(TokenLink?, isWhole: Bool)
    }

    private(set) var phase = Phase.connecting
    /// The module, while it is initialised.
    var module: Module?
    /// One whose C_Finalize failed, though it may have been done.
    var former: Module?
    /// The token that has refused the PIN, while it is locked for that.
    private(set) var refusedBy: TokenInfo?
    private var users: Set<ObjectIdentifier> = []
    /// Those that hang: the module can't be finalised under them, and nobody waits for them.
    private var stranded: Set<ObjectIdentifier> = []
    private var backOff = BackOff()

    /// How long a connection must have lived, and worked, to be tried again without a pause.
    private static let healthyLife = Duration.seconds(1)

    var hasStranded: Bool { !stranded.isEmpty }

    // MARK: Threads inside

    mutating func enter(_ thread: CallingThread) { users.insert(ObjectIdentifier(thread)) }

    mutating func leave(_ thread: CallingThread) {
        users.remove(ObjectIdentifier(thread))
        stranded.remove(ObjectIdentifier(thread))
    }

    mutating func strand(_ thread: CallingThread) {
        guard users.remove(ObjectIdentifier(thread)) != nil else { return }
        stranded.insert(ObjectIdentifier(thread))
    }

    /// Whether the keeper waits for the users to leave, and they have.
    var isAwaited: Bool {
        guard users.isEmpty else { return false }
        switch phase {
        case .lost, .closing: return true
        case .connecting, .ready, .locked, .unavailable, .closed: return false
        }
    }

    // MARK: Transitions

    mutating func connected(_ link: TokenLink) -> Bool {
        guard case .connecting = phase else { return false }
        phase = .ready(link, since: .now)
        refusedBy = nil
        return true
    }

    mutating func failed(_ failure: ConnectFailure) {
        guard case .connecting = phase else { return }
        if failure.error.code == .tokenLocked {
            refusedBy = failure.refusedBy
            phase = .locked(failure.error)
        } else {
            phase = .unavailable(failure.error, retryAt: .now + backOff.next(isLight: failure.isLight))
        }
    }

    /// - Parameter latestSuccess: When the token last did something.
    mutating func lose(_ link: TokenLink, because error: CustodyError, latestSuccess: ContinuousClock.Instant?) -> Bool {
        guard case .ready(let current, let since) = phase, current === link else { return false }
        phase = .lost(link, error)
        // A token that logs in but does not work must not be finalised and logged in to with every request.
        if since.duration(to: .now) > Self.healthyLife, let latestSuccess, latestSuccess > since { backOff.reset() }
        return true
    }

    /// - Returns: The link, to be let go where a session that does not close harms nobody.
    mutating func dismantled() -> TokenLink? {
        guard case .lost(let link, let error) = phase else { return nil }
        if backOff.hasFailures {
            phase = .unavailable(error, retryAt: .now + backOff.next(isLight: false))
        } else {
            _ = backOff.next(isLight: true)
            phase = .connecting
        }
        return link
    }

    /// Leaves the locked state.
    mutating func unlock() -> Bool {
        guard case .locked = phase else { return false }
        phase = .connecting
        return true
    }

    mutating func close() {
        switch phase {
        case .ready(let link, _), .lost(let link, _): phase = .closing(link)
        case .connecting, .locked, .unavailable: phase = .closing(nil)
        case .closing, .closed: break
        }
    }

    mutating func closed(keeping link: TokenLink?) { phase = .closed(link) }

    /// What is to be done now.
    mutating func nextStep() -> Step {
        switch phase {
        case .connecting: return .connect
        case .ready(let link, _): return .look(link)
        case .lost:
            return users.isEmpty ? .dismantle(isWhole: stranded.isEmpty) : .wait(.seconds(1))
        case .locked: return .wait(.seconds(3_600))
        case .unavailable(_, let retryAt):
            let now = ContinuousClock.now
            guard now >= retryAt else { return .wait(retryAt - now) }
            phase = .connecting
            return .connect
        case .closing(let link):
            return users.isEmpty ? .finish(link, isWhole: stranded.isEmpty) : .wait(.seconds(1))
        case .closed: return .finish(nil, isWhole: false)
        }
    }
}

/// Why no connection came about.
struct ConnectFailure: Error {
    var error: CustodyError
    /// It was no more than a look whether the token is there: no session was opened.
    var isLight = false
    /// The token that has refused the PIN, now or before.
    var refusedBy: TokenInfo?
}
