import Custody
import Logging

/// What the start of the daemon consists of, besides its parts.
extension Daemon {
    /// The service manager's socket, or else one of the daemon's own.
    func listen() throws(ListenError) -> ListeningSocket {
        if let passed = try PassedSocket.take() { return ListeningSocket(passed) }
        do throws(FileFailure) {
            _ = try TrustedFolder.containing(configuration.server.socket)
        } catch {
            // What is not there, the socket itself tells.
            if error.code == nil {
                throw ListenError(description: "clients would not know whom they speak to on \(configuration.server.socket): \(error)")
            }
        }
        return try ListeningSocket(path: configuration.server.socket, mode: configuration.server.socketMode)
    }

    func warn(listeningOn path: String) {
        if path != configuration.server.socket {
            log.warning(
                "the service manager's socket is not where custodyctl looks: set `socket` under [server] to its ListenStream=",
                metadata: ["listening": "\(path)", "configured": "\(configuration.server.socket)"])
        }
        if configuration.keys.lookInterval > .seconds(1) {
            log.warning(
                "look-interval-ms under [keys] is above 1000: a rotation or a disabled key counts later than within a second",
                metadata: ["interval": "\(configuration.keys.lookInterval)"])
        }
    }

    /// What is loaded into this process, or decides what is loaded: an error to others, and to who set it up so a warning.
    func warnOfUntrustedFiles() {
        let files = [configuration.token.module] + configuration.environment.sorted { $0.key < $1.key }.map(\.value)
        for trouble in files.filter({ $0.hasPrefix("/") }).compactMap(TrustedFile.trouble) {
            log.warning("others can change what the daemon loads", metadata: ["cause": "\(trouble)"])
        }
    }

    /// The first attempt to reach a slow HSM is part of the start, for five minutes at the most.
    func extendStart(_ manager: ServiceManager, _ custodian: Custodian) async {
        for _ in 0..<60 where !Task.isCancelled {
            manager.extendStart(by: .seconds(30))
            if await Self.waitForToken(custodian, atMost: .seconds(5)) { return }
        }
    }

    /// Until the first attempt to connect to the token has ended, however it did; whether it has.
    @discardableResult
    static func waitForToken(_ custodian: Custodian, atMost duration: Duration) async -> Bool {
        let end = ContinuousClock.now + duration
        while !Task.isCancelled, .now < end {
            guard case .recovering = custodian.tokenState else { return true }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return false
    }

    /// What a reader of the log wants to know of a start, in one line.
    func sayWhatIsInForce(_ custodian: Custodian) {
        let activity = custodian.activity
        let rules = configuration.rules
        log.notice("in force", metadata: [
            "module": "\(configuration.token.module)", "token": "\(configuration.token.uri)",
            "state": "\(custodian.tokenState.name)", "keys": "\(activity.keys)", "grants": "\(rules.policy.grants.count)",
            "denials": "\(rules.policy.denials.count)", "limits": "\(rules.limits.count)",
            "durability": "\(configuration.audit.durability)", "sessions": "\(configuration.token.sessions)",
            "queue": "\(configuration.server.queueLimit)", "connections": "\(configuration.server.connections)",
            "uses-per-version": "\(configuration.keys.usesPerVersion)",
        ])
    }
}
