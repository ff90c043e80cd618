import CSystemShim
import Foundation
import Synchronization

/// What the service manager that started the daemon is told (sd_notify(3)): that it is ready, how the token does, and, again
/// and again, that it lives.
final class ServiceManager: Sendable {
    private let path: String
    /// In how much time it must hear from the daemon; nil if it does not watch.
    let watchdog: Duration?
    private let latest = Mutex("")

    /// - Parameter path: Of its socket; an abstract one begins with `@`.
    init(path: String, watchdog: Duration?) {
        self.path = path
        self.watchdog = watchdog
    }

    /// The one that the environment names (NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID), if there is one.
    static func ofEnvironment(_ environment: [String: String] = ProcessInfo.processInfo.environment) -> ServiceManager? {
        guard let path = environment["NOTIFY_SOCKET"], !path.isEmpty else { return nil }
        var watchdog: Duration?
        let isOurs = environment["WATCHDOG_PID"].map { $0 == String(ProcessInfo.processInfo.processIdentifier) } ?? true
        if isOurs, let text = environment["WATCHDOG_USEC"], let microseconds = Int64(text), microseconds > 0 {
            watchdog = .microseconds(microseconds)
        }
        return ServiceManager(path: path, watchdog: watchdog)
    }

    /// A start that takes longer than the unit allows is not given up for another `duration`.
    func extendStart(by duration: Duration) { send("EXTEND_TIMEOUT_USEC=\(Int64(duration / .microseconds(1)))") }

    /// A daemon whose token is not there is ready all the same: it answers, and goes on trying.
    func sayReady(_ status: ServiceStatus) { send("READY=1\nSTATUS=\(remember(status))") }

    /// Says how the daemon does, if that is news.
    func say(_ status: ServiceStatus) {
        let before = latest.withLock { $0 }
        let text = remember(status)
        if text != before { send("STATUS=\(text)") }
    }

    /// - Parameter duration: What it may take, whatever the unit allows.
    func sayStopping(within duration: Duration) {
        send("STOPPING=1\nSTATUS=shutting down\nEXTEND_TIMEOUT_USEC=\(Int64(duration / .microseconds(1)))")
    }

    /// Says that the daemon lives, four times in each interval, so that a lost message is none too many, and as long as it does;
    /// returns when the task is cancelled.
    func feed(_ watchdog: Duration, whileAlive isAlive: @Sendable () async -> Bool) async {
        while !Task.isCancelled {
            if await isAlive() { send("WATCHDOG=1") }
            try? await Task.sleep(for: watchdog / 4)
        }
    }

    /// Says every few seconds how the daemon does; returns when the task is cancelled.
    func report(every interval: Duration = .seconds(5), _ status: @Sendable () -> ServiceStatus) async {
        while !Task.isCancelled {
            try? await Task.sleep(for: interval)
            say(status())
        }
    }

    private func remember(_ status: ServiceStatus) -> String {
        let text = status.text
        latest.withLock { $0 = text }
        return text
    }

    private func send(_ message: String) {
        // A manager that does not listen must not hold the daemon up.
        _ = csystem_notify(path, message, message.utf8.count)
    }
}
