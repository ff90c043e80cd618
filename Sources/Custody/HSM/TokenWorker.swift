import PKCS11

/// What a worker thread has: its session with the token, opened when needed and dropped on any error but bad data.
struct TokenWorker: ~Copyable {
    /// Why the token did not do what was asked.
    enum Failure: Error {
        case data
        case objectGone
        case objectForbidden
        case custody(CustodyError)
    }

    /// A class, so that it can be replaced as a whole.
    // Unchecked: one worker's thread uses it, and when that has ended nobody does.
    private final class OpenSession: @unchecked Sendable {
        let session: Session
        /// Made when it is needed for the first time.
        var canary: Canary?
        init(_ session: consuming Session) { self.session = session }
    }

    let connection: TokenConnection
    private let thread: CallingThread
    private var link: TokenLink?
    private var unavailable = CustodyError(.tokenUnavailable, "the HSM is being connected", retryAfterMilliseconds: 100)
    private var open: OpenSession?
    /// The link that `open` belongs to.
    private var openOn: TokenLink?
    private var latestSuccess: ContinuousClock.Instant?

    init(_ connection: TokenConnection, _ thread: CallingThread) {
        self.connection = connection
        self.thread = thread
    }

    /// Takes hold of the connection for a batch.
    mutating func begin() {
        do {
            let link = try connection.acquire(thread)
            if openOn !== link { dropSession() }
            self.link = link
        } catch {
            // The session stays until there is another link: closing it now could meet C_Finalize on the keeper's thread.
            unavailable = error
        }
    }

    /// Lets the connection go.
    mutating func end() {
        if let latestSuccess {
            connection.health.noteSuccess(at: latestSuccess)
            self.latestSuccess = nil
        }
        guard link != nil else { return }
        // A thread that was given up ends: its session must be closed while nobody can finalise the module.
        if thread.isGivenUp { dropSession() }
        link = nil
        connection.release(thread)
    }

    /// The worker ends: its session is closed while nobody can finalise the module, or goes with the link.
    mutating func leave() {
        begin()
        if link == nil, let open { openOn?.adopt(open) }
        dropSession()
        end()
    }

    /// Looks at the keys on the token.
    mutating func refreshKeys(unlessRecent: Bool) throws(Failure) {
        let catalog = connection.catalog
        // A token that shows its keys may be unable to use them all the same.
        let link = link
        try run(patience: connection.settings.hungAfter * 4, showsThatItWorks: false) { (session) throws(PKCS11Error) in
            try catalog.refresh(session, unlessRecent: unlessRecent) { () throws(PKCS11Error) in try link?.checkPresence() }
        }
    }

    /// Runs calls on the worker's session. If the session turns out to be dead they are run once more on a new one, so
    /// they must be safe to repeat.
    mutating func run<R>(
        patience: Duration? = nil, showsThatItWorks: Bool = true, _ body: (borrowing Session) throws(PKCS11Error) -> R
    ) throws(Failure) -> R {
        let patience = patience ?? connection.settings.hungAfter
        var isSecondTry = false
        var hasSung = false
        while true {
            guard let link else { throw .custody(unavailable) }
            do throws(PKCS11Error) {
                let current = try openSession(link)
                let result = try thread.calling(within: patience) { () throws(PKCS11Error) in try body(current.session) }
                if showsThatItWorks { latestSuccess = .now }
                return result
            } catch {
                switch Fault(error) {
                case .data: throw .data
                case .ambiguous:
                    guard !hasSung else { throw .data }
                    guard sings(link) else { throw .custody(lose(link, error)) }
                    // The token decrypts, now: what is right opens at the second try, if it was a fault of a moment.
                    hasSung = true
                case .objectGone:
                    throw .objectGone
                case .objectForbidden:
                    throw .objectForbidden
                case .unsupported:
                    dropSession()
                    connection.health.noteTrouble("\(error)")
                    throw .custody(CustodyError(.tokenUnavailable, "the token cannot do this; `custodyctl doctor` shows what it can", cause: "\(error)"))
                case .session:
                    dropSession()
                    if isSecondTry {
                        // A fresh session met it too: the token is at fault, or what was asked of it.
                        guard sings(link) else { throw .custody(lose(link, error)) }
                        connection.health.noteTrouble("\(error)")
                        throw .custody(CustodyError(
                            .tokenUnavailable, "the token refused the operation; the daemon's log says more", cause: "\(error)",
                            retryAfterMilliseconds: 100))
                    }
                    isSecondTry = true
                case .pin, .connection:
                    throw .custody(lose(link, error))
                }
            }
        }
    }

    private mutating func openSession(_ link: TokenLink) throws(PKCS11Error) -> OpenSession {
        if let open { return open }
        let readWrite = connection.settings.readWriteSessions
        let new = OpenSession(try thread.calling(within: connection.settings.hungAfter) { () throws(PKCS11Error) in
            try link.module.openSession(link.token.slot, readWrite: readWrite)
        })
        open = new
        openOn = link
        return new
    }

    /// The calls that close a session may hang like any others.
    private mutating func dropSession() {
        guard open != nil || openOn != nil else { return }
        thread.calling(within: connection.settings.hungAfter) {
            open = nil
            // Whoever holds a link last closes the session of its login.
            openOn = nil
        }
    }

    private mutating func lose(_ link: TokenLink, _ error: PKCS11Error) -> CustodyError {
        dropSession()
        unavailable = TokenLink.unavailable(error)
        connection.lose(link, because: unavailable)
        end()
        return unavailable
    }

    /// Whether the token decrypts what is right: so an error that may mean bad data or a broken token was about the data.
    /// It costs no more than the operation did, so that garbage from a client is not amplified.
    private mutating func sings(_ link: TokenLink) -> Bool {
        do throws(PKCS11Error) {
            let current = try openSession(link)
            try thread.calling(within: connection.settings.hungAfter) { () throws(PKCS11Error) in
                if current.canary == nil { current.canary = try Canary(current.session) }
                try current.canary?.open(current.session)
            }
            latestSuccess = .now
            return true
        } catch {
            return false
        }
    }
}
