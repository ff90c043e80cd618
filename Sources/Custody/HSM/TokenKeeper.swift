import Dispatch
import Foundation
import Logging
import PKCS11
import Synchronization

/// The thread that connects to the token, looks at the keys again and again, tries the token when it has nothing to do,
/// and connects anew when the connection is lost.
///
/// If it hangs in a look, another keeper takes its place. In C_Initialize, C_Login and C_Finalize it can't be replaced: a
/// second thread must not repeat those.
final class TokenKeeper: Sendable {
    /// One look at the keys on the token.
    struct Look: Sendable {
        let ring: KeyRing
        /// The first one after the token was connected.
        let isFirst: Bool
    }

    private let connection: TokenConnection
    private let onLook: @Sendable (Look) -> Void
    private let thread = CallingThread("token-keeper")
    /// What was said of objects that are no root keys.
    private let told = Mutex<Set<String>>([])
    private static let strangersToldAtOnce = 16

    init(_ connection: TokenConnection, _ onLook: @escaping @Sendable (Look) -> Void) {
        self.connection = connection
        self.onLook = onLook
    }

    func start() {
        let (connection, thread, onLook) = (connection, thread, onLook)
        connection.watch.watch(
            thread,
            onHang: {
                connection.strand(thread)
                // A look that hangs says nothing of keys that were disabled meanwhile: nothing goes on without it.
                connection.loseBecauseOfHang()
            },
            replace: { TokenKeeper(connection, onLook).start() })
        let runner = Thread { self.keep() }
        runner.name = thread.name
        runner.start()
    }

    private var settings: TokenSettings { connection.settings }
    private var catalog: KeyCatalog { connection.catalog }
    private var log: Logger { connection.log }

    /// A look is many calls, on some tokens some for each object.
    private var patienceForLooks: Duration { settings.hungAfter * 4 }
    /// Modules reach for networks in C_Initialize, and tokens take their time to check a PIN.
    private var patienceForLogins: Duration { settings.hungAfter * 10 }

    private func keep() {
        var pause: Duration = .zero
        // The link that this keeper made or looks through.
        var canary: (link: TokenLink, Canary)?
        while true {
            if thread.isGivenUp {
                // While it counts as inside: closing a session must not meet C_Finalize on another keeper's thread.
                canary = nil
                connection.release(thread)
                return connection.watch.forget(thread)
            }
            if pause > .zero { _ = connection.wake.wait(timeout: .now() + pause.dispatchInterval) }
            pause = .zero
            switch connection.withState({ $0.nextStep() }) {
            case .connect:
                canary = connect()
            case .look(let link):
                look(link, &canary)
                pause = connection.lookInterval
            case .dismantle(let isWhole):
                let module = connection.withState { $0.module }
                if isWhole, let module { finalize(module) }
                var link = connection.withState { $0.dismantled() }
                // The last who holds a link closes its session, and that may hang like any call.
                thread.calling(within: settings.hungAfter) {
                    canary = nil
                    link = nil
                }
                _ = link
            case .wait(let duration):
                pause = duration
            case .finish(let link, let isWhole):
                canary = nil
                let module = connection.withState { $0.module }
                if isWhole, let module { finalize(module) }
                connection.withState { $0.closed(keeping: isWhole ? nil : link) }
                connection.watch.forget(thread)
                connection.closed.signal()
                return
            }
        }
    }

    // MARK: Steps

    private func connect() -> (TokenLink, Canary)? {
        catalog.reset()
        // Held until the module is finalised, so that there is nothing left to close.
        var attempt: TokenLink?
        do throws(ConnectFailure) {
            let link = try thread.calling(within: patienceForLogins, isReplaceable: false) { () throws(ConnectFailure) in
                try logIn()
            }
            attempt = link
            connection.withState { $0.enter(thread) }
            defer { if !thread.isGivenUp { connection.release(thread) } }
            do throws(PKCS11Error) {
                let canary = try thread.calling(within: patienceForLooks) { () throws(PKCS11Error) in
                    try catalog.refresh(link.loginSession) { () throws(PKCS11Error) in try link.checkPresence() }
                    return try newCanary(link)
                }
                guard !thread.isGivenUp, connection.withState({ $0.connected(link) }) else { return nil }
                connection.observe()
                report(catalog.ring)
                reportStrangers(catalog.ring)
                onLook(Look(ring: catalog.ring, isFirst: true))
                return (link, canary)
            } catch {
                throw ConnectFailure(error: TokenLink.unavailable(error))
            }
        } catch {
            guard !thread.isGivenUp else { return nil }
            let module = connection.withState { $0.hasStranded ? nil : $0.module }
            if let module { finalize(module) }
            if attempt != nil { thread.calling(within: settings.hungAfter) { attempt = nil } }
            connection.withState { $0.failed(error) }
            connection.observe()
            return nil
        }
    }

    /// The module stays initialised while a thread hangs in it: then only the login is made anew.
    private func logIn() throws(ConnectFailure) -> TokenLink {
        let module: Module
        if let initialized = connection.withState({ $0.module }) {
            module = initialized
        } else {
            module = try TokenLink.initialize(settings, observer: connection.observer)
            connection.withState { state in
                // Its C_Finalize did what it said it had not: the numbers of its sessions are others' now.
                if !module.wasInitialized { state.former?.markFinalized() }
                state.former = nil
                state.module = module
            }
        }
        return try TokenLink.logIn(module, settings, connection.health, log: log) { connection.note($0) }
    }

    private func look(_ link: TokenLink, _ canary: inout (link: TokenLink, Canary)?) {
        connection.withState { $0.enter(thread) }
        defer { if !thread.isGivenUp { connection.release(thread) } }
        do throws(PKCS11Error) {
            try thread.calling(within: patienceForLooks) { () throws(PKCS11Error) in
                try link.checkPresence()
                try catalog.refresh(link.loginSession) { () throws(PKCS11Error) in try link.checkPresence() }
            }
            guard !thread.isGivenUp else { return }
            reportStrangers(catalog.ring)
            onLook(Look(ring: catalog.ring, isFirst: false))
            try tryToken(link, &canary)
            if link.module.unclosedSessions > 0, connection.withState({ !$0.hasStranded }) {
                // They would add up until the token has no more.
                connection.lose(link, because: CustodyError(
                    .tokenUnavailable, "the HSM is being connected anew", cause: "C_CloseSession failed, so that a session is open that nobody uses"))
            }
        } catch {
            connection.lose(link, because: TokenLink.unavailable(error))
        }
    }

    /// With a canary, if the token has not shown for some time that it works.
    private func tryToken(_ link: TokenLink, _ canary: inout (link: TokenLink, Canary)?) throws(PKCS11Error) {
        if let latest = connection.health.latestSuccess, latest.duration(to: .now) < settings.canaryInterval { return }
        let start = ContinuousClock.now
        try thread.calling(within: patienceForLooks) { () throws(PKCS11Error) in
            let bird: Canary
            if let canary, canary.link === link { bird = canary.1 } else { bird = try newCanary(link) }
            canary = (link, bird)
            try bird.wrapAndOpen(link.loginSession)
        }
        connection.health.noteCanary(took: start.duration(to: .now))
    }

    private func newCanary(_ link: TokenLink) throws(PKCS11Error) -> Canary {
        let start = ContinuousClock.now
        let canary = try Canary(link.loginSession)
        try canary.open(link.loginSession)
        connection.health.noteCanary(took: start.duration(to: .now))
        return canary
    }

    private func report(_ ring: KeyRing) {
        for (name, versions) in ring.keys {
            for version in versions {
                if case .refused(let reason) = version.state {
                    log.warning("key refused", metadata: ["reason": "\(reason)"])
                } else if let warning = version.warning {
                    log.warning("key not proved", metadata: [
                        "key": "\(name)", "version": "\(version.version)", "id": "\(version.id)", "reason": "\(warning)",
                    ])
                } else {
                    log.info("key", metadata: ["key": "\(name)", "version": "\(version.version)", "id": "\(version.id)", "exception": "\(version.exception ?? "none")"])
                }
            }
        }
    }

    /// Each once; anybody may have made any number of them.
    private func reportStrangers(_ ring: KeyRing) {
        let strangers = ring.strangersByName.map(\.reason)
        let news = told.withLock { told in
            let news = strangers.filter { !told.contains($0) }
            // What is gone is told of again when it is back.
            told = Set(strangers)
            return news
        }
        for reason in news.prefix(Self.strangersToldAtOnce) { log.warning("an object on the token is no root key", metadata: ["reason": "\(reason)"]) }
        if news.count > Self.strangersToldAtOnce {
            log.warning("more objects on the token are no root keys", metadata: ["count": "\(news.count - Self.strangersToldAtOnce)"])
        }
    }

    private func finalize(_ module: Module) {
        do {
            try thread.calling(within: patienceForLogins, isReplaceable: false) { () throws(PKCS11Error) in try module.finalize() }
        } catch {
            log.warning("C_Finalize failed", metadata: ["cause": "\(error)"])
            connection.withState { $0.former = module }
        }
        connection.withState { $0.module = nil }
    }
}

extension TokenConnection {
    /// The keeper hangs.
    fileprivate func loseBecauseOfHang() {
        guard let link = withState({ state -> TokenLink? in
            if case .ready(let link, _) = state.phase { link } else { nil }
        }) else { return }
        lose(link, because: CustodyError(
            .tokenUnavailable, "the HSM can't be reached", cause: "a look at the keys on the token does not return", retryAfterMilliseconds: 100))
    }
}
