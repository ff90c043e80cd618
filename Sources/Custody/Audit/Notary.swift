import Dispatch
import Foundation
import Logging
import PKCS11
import Synchronization

/// Has the HSM vouch for the audit log, again and again, and anchors its newest word outside of the log.
///
/// It calls the HSM on a thread of its own and without the log's lock: an HSM that hangs holds no operation up. For that a
/// checkpoint names the line that was the last when it was asked for, and stands some lines behind it.
public final class Notary: Sendable {
    private let audit: AuditLog
    private let connection: TokenConnection
    private let settings: AuditSettings
    private let log: Logger
    private let isStopping = Atomic<Bool>(false)
    private let isStarted = Atomic<Bool>(false)
    private let ended = DispatchSemaphore(value: 0)
    /// After a failure, and while the token is not there for the first time.
    private static let retryInterval = Duration.seconds(1)

    public init(audit: AuditLog, connection: TokenConnection, settings: AuditSettings, log: Logger) {
        self.audit = audit
        self.connection = connection
        self.settings = settings
        self.log = log
    }

    /// Starts the thread.
    public func start() {
        guard !isStarted.exchange(true, ordering: .relaxed) else { return }
        startThread()
    }

    private func startThread() {
        let caller = CallingThread("audit-notary")
        connection.watch.watch(
            caller, onHang: { self.connection.strand(caller) },
            replace: { if !self.isStopping.load(ordering: .acquiring) { self.startThread() } })
        let thread = Thread { self.work(caller) }
        thread.name = caller.name
        thread.start()
    }

    /// Makes the last checkpoint, over everything that is written, and anchors it. The connection must be open still, and
    /// nobody may use the token any more. Blocks for `patience` at most: an HSM that hangs is not waited for.
    public func stop(within patience: Duration = .seconds(5)) {
        guard isStarted.load(ordering: .relaxed) else { return }
        isStopping.store(true, ordering: .releasing)
        audit.notaryWanted.signal()
        guard ended.wait(timeout: .now() + patience.dispatchInterval) == .timedOut else {
            // Whoever stops again finds it stopped.
            ended.signal()
            return
        }
        log.warning("the HSM does not answer: the end of the audit log is covered by no checkpoint")
    }

    // MARK: The thread

    private func work(_ thread: CallingThread) {
        // A checkpoint and its anchors are some ten calls.
        let patience = connection.settings.hungAfter * 4
        var desk = NotaryDesk(audit: audit, settings: settings, thread: thread, patience: patience, log: log)
        while !isStopping.load(ordering: .acquiring) {
            let next = desk.nextDue
            let now = ContinuousClock.now
            guard let next, next <= now else {
                let pause = next.map { .now() + now.duration(to: $0).dispatchInterval } ?? DispatchTime.distantFuture
                _ = audit.notaryWanted.wait(timeout: pause)
                continue
            }
            serve(&desk, thread, isLast: false)
            // Another one takes over.
            if thread.isGivenUp { return connection.watch.forget(thread) }
        }
        serve(&desk, thread, isLast: true)
        desk.abandon()
        connection.watch.forget(thread)
        ended.signal()
    }

    private func serve(_ desk: inout NotaryDesk, _ thread: CallingThread, isLast: Bool) {
        do throws(CustodyError) {
            if !desk.hasCompared {
                try withLink(thread) { (link) throws(CustodyError) in try desk.readAnchors(link) }
                // Reads all of a long log: nobody who waits for the connection is held up by that.
                try desk.compare()
            }
            try withLink(thread) { (link) throws(CustodyError) in
                // Closed while nobody can finalise the module.
                defer { if isLast || thread.isGivenUp { desk.leave() } }
                try desk.serve(link, isLast: isLast)
            }
        } catch {
            // Closed while the link is held, as the whole desk is.
            if !thread.isGivenUp { desk.postpone(error, by: Self.retryInterval) }
        }
    }

    private func withLink(_ thread: CallingThread, _ body: (TokenLink) throws(CustodyError) -> Void) throws(CustodyError) {
        let link = try connection.acquire(thread)
        defer { connection.release(thread) }
        try body(link)
    }
}
