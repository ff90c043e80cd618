import Custody
import Foundation
import Logging
import NIOCore
import NIOPosix
import SecureMemory
import ServiceLifecycle
import Synchronization

/// `custodyd` as a service: opens the vault and the door, and on graceful shutdown closes them in the opposite order.
public struct Daemon: Service, CustomStringConvertible {
    public let description = "custodyd"
    let configuration: Configuration
    let log: Logger

    public init(_ configuration: Configuration, log: Logger) {
        self.configuration = configuration
        self.log = log
    }

    /// Serves until the task's graceful shutdown.
    ///
    /// - Throws: ``ListenError`` or `CustodyError` if the daemon can't start at all. A token that can't be reached is no
    ///   such reason: the daemon stays up, says so, and goes on trying.
    public func run() async throws {
        harden()
        for (name, value) in configuration.environment { setenv(name, value, 1) }
        let state = try StateDirectory(configuration.stateDirectory)
        let audit = try AuditLog(configuration.audit, log: log)
        let socket = try listen()
        let path = socket.path

        let metrics = VaultMetrics()
        let connection = TokenConnection(
            configuration.token, catalog: KeyCatalog(exceptions: configuration.keys.exceptions),
            lookInterval: configuration.keys.lookInterval, metrics: metrics, log: log)
        let notary = Notary(audit: audit, connection: connection, settings: configuration.audit, log: log)
        let custodian = try Custodian(
            rules: configuration.rules, file: configuration.file, audit: audit, state: state, connection: connection,
            notary: notary, workers: configuration.token.sessions, queueLimit: configuration.server.queueLimit,
            usesLimit: configuration.keys.usesPerVersion, metrics: metrics, log: log)
        let manager = ServiceManager.ofEnvironment()
        let pace = Mutex(OperationPace())
        let status: @Sendable () -> ServiceStatus = { [custodian] in
            // Counted under the lock: any thread may say how the token does.
            let rate = pace.withLock { $0.rate(custodian.activity.operations) }
            return ServiceStatus(token: custodian.tokenState, keys: custodian.activity.keys, rate: rate)
        }
        connection.onStateChange { _ in manager?.say(status()) }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let door = try Self.door(custodian, configuration.server, group, log)
        custodian.onDoorReport { door.report() }
        custodian.onDisconnect { door.disconnect($0, except: $1) }
        let reloader = Reloader(configuration, custodian: custodian, connection: connection, log: log) { door.change(to: $0, $1) }
        custodian.onReload { () throws(CustodyError) in try reloader.reload() }

        custodian.noteEventually(AuditEvent(
            "started",
            [
                ("version", .text(CustodyRelease.version)), ("file", .text(configuration.file)), ("sha256", .text(configuration.digest)),
                ("pid", .number(UInt64(getpid()))),
            ]))
        let hangup = DispatchSource.makeSignalSource(signal: SIGHUP, queue: DispatchQueue(label: "reload"))
        // What went wrong is logged and shown in Status.
        hangup.setEventHandler { _ = try? reloader.reload() }
        hangup.activate()
        custodian.start()
        manager?.extendStart(by: .seconds(30))
        // Whoever made the service manager start the daemon by connecting finds the token there, if it comes at once.
        await Self.waitForToken(custodian, atMost: .seconds(2))
        door.open(socket)
        log.notice(
            "custodyd is listening",
            metadata: ["version": "\(CustodyRelease.version)", "socket": "\(path)", "audit": "\(configuration.audit.file)"])
        warn(listeningOn: path)
        warnOfUntrustedFiles()

        // Past the bound of hanging calls the daemon is let be restarted.
        await withTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try? await gracefulShutdown() }
            if let manager {
                tasks.addTask {
                    await extendStart(manager, custodian)
                    guard !Task.isCancelled else { return }
                    sayWhatIsInForce(custodian)
                    manager.sayReady(status())
                    await manager.report(status)
                }
            } else {
                sayWhatIsInForce(custodian)
            }
            if let manager, let watchdog = manager.watchdog {
                tasks.addTask {
                    // Asked on the event loop: if that does not answer, nobody is served.
                    let loop = group.any()
                    await manager.feed(watchdog) { (try? await loop.submit { custodian.isAlive }.get()) ?? false }
                }
            }
            await tasks.next()
            tasks.cancelAll()
        }
        // What is under way, the module's end and the connections may each take as long as a drain, or a little longer.
        manager?.sayStopping(within: configuration.server.drain * 5 + .seconds(10))
        log.notice("shutting down")
        hangup.cancel()
        door.close()
        let drain = configuration.server.drain
        let isFinalized = try await NIOThreadPool.singleton.runIfActive { custodian.stop(drainingFor: drain) }
        await door.closeConnections(within: drain)
        try await group.shutdownGracefully()
        audit.close()
        guard isFinalized else {
            // Its exit handlers crash while a call is inside.
            log.warning("a call of the HSM's module does not return: custodyd leaves without finalising it")
            _exit(0)
        }
        log.notice("custodyd has stopped")
    }

    /// Where waiting for the event loop holds nobody up.
    private static func door(
        _ custodian: Custodian, _ configuration: Configuration.Server, _ group: any EventLoopGroup, _ log: Logger
    ) throws -> Door {
        try Door(custodian: custodian, configuration: configuration, group: group, log: log)
    }

    private func harden() {
        // Connections must not take the descriptors that the HSM's module needs.
        ProcessHardening.raiseDescriptorLimit()
        if let failure = ProcessHardening.forbidDumps() {
            log.warning("core dumps can't be forbidden", metadata: ["cause": "\(String(cString: strerror(failure)))"])
        }
        switch ProcessHardening.lockMemory() {
        case .locked: break
        case .limited: log.info("memory is not locked: its limit is finite; the unit file forbids swap")
        case .failed(let failure): log.warning("memory can't be locked", metadata: ["cause": "\(String(cString: strerror(failure)))"])
        }
        // A link to a token that closes must not end the process.
        signal(SIGPIPE, SIG_IGN)
        // A dispatch source takes it; unhandled it would end the process, and service managers take that for a clean exit.
        signal(SIGHUP, SIG_IGN)
    }
}
