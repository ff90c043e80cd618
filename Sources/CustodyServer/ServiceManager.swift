import CSystemShim
import Custody
import Foundation
import PKCS11

/// What the service manager that started the daemon is told (sd_notify(3)): that it is ready, how the token does, and, again
/// and again, that it lives.
final class ServiceManager: Sendable {
    private let path: String
    /// In how much time it must hear from the daemon; nil if it does not watch.
    let watchdog: Duration?

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

    /// A daemon whose token is not there is ready all the same: it answers, and goes on trying.
    func sayReady(_ state: TokenState) { send("READY=1\nSTATUS=\(Self.text(state))") }

    func say(status state: TokenState) { send("STATUS=\(Self.text(state))") }

    func sayStopping() { send("STOPPING=1\nSTATUS=shutting down") }

    /// Says that the daemon lives, four times in each interval, so that a lost message is none too many, and as long as it does;
    /// returns when the task is cancelled.
    func feedWatchdog(whileAlive isAlive: @Sendable () async -> Bool) async {
        let pause = watchdog.map { $0 / 4 } ?? .seconds(3_600)
        while !Task.isCancelled {
            if watchdog != nil, await isAlive() { send("WATCHDOG=1") }
            try? await Task.sleep(for: pause)
        }
    }

    /// In one line, whatever the token calls itself.
    private static func text(_ state: TokenState) -> String {
        let text = switch state {
        case .ready(let token): "token '\(token.label)' ready"
        case .degraded(let token, let reason): "token '\(token.label)' degraded: \(reason)"
        case .recovering: "connecting to the token"
        case .locked(let error): "token locked, an operator must act: \(error.message)"
        case .unavailable(let error): "token unavailable, tried again: \(error.message)"
        }
        return text.replacing("\n", with: " ").replacing("\u{0}", with: " ")
    }

    private func send(_ message: String) {
        // A manager that does not listen must not hold the daemon up.
        _ = csystem_notify(path, message, message.utf8.count)
    }
}
