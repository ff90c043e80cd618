import Custody
import Foundation
import Logging
import Synchronization

/// Reads the configuration anew and puts it in force, all of it or nothing: on SIGHUP, and for administrators over the
/// socket.
final class Reloader: Sendable {
    private let file: String
    private let custodian: Custodian
    private let connection: TokenConnection
    /// Puts rules in force by the body, and looks at those who are connected as they ask for before that.
    private let changing: @Sendable (Rules, () -> ConfigurationReport) -> ConfigurationReport
    private let log: Logger
    /// What is in force; one reload at a time.
    private let current: Mutex<Configuration>

    init(
        _ configuration: Configuration, custodian: Custodian, connection: TokenConnection, log: Logger,
        changing: @escaping @Sendable (Rules, () -> ConfigurationReport) -> ConfigurationReport
    ) {
        file = configuration.file
        self.custodian = custodian
        self.connection = connection
        self.log = log
        self.changing = changing
        current = Mutex(configuration)
    }

    /// - Throws: ``CustodyError`` with `configurationInvalid`, and `auditUnavailable` since a change that can't be recorded
    ///   is not made. Then everything is as before.
    func reload() throws(CustodyError) -> ConfigurationReport {
        let result: Result<ConfigurationReport, CustodyError> = current.withLock { current in
            do throws(CustodyError) {
                let (new, digest) = try read(current)
                try custodian.note(AuditEvent(
                    "configuration",
                    [
                        ("result", .text("loaded")), ("file", .text(file)), ("sha256", .text(digest)),
                        ("grants", .number(UInt64(new.rules.policy.grants.count))),
                        ("denials", .number(UInt64(new.rules.policy.denials.count))),
                        ("limits", .number(UInt64(new.rules.limits.count))),
                    ]))
                connection.catalog.setExceptions(new.keys.exceptions)
                connection.setLookInterval(new.keys.lookInterval)
                if connection.unlock() { log.notice("the token is tried again, as its PIN or its lock may have been put right") }
                current = new
                return .success(changing(new.rules) { custodian.adopt(new.rules, file: file, usesLimit: new.keys.usesPerVersion) })
            } catch {
                return .failure(error)
            }
        }
        switch result {
        case .success(let report):
            log.notice("the configuration was loaded", metadata: [
                "file": "\(file)", "grants": "\(report.grants)", "denials": "\(report.denials)", "limits": "\(report.limits)",
            ])
            return report
        case .failure(let error):
            log.error("the configuration was not loaded; the one before stays in force", metadata: ["reason": "\(error.message)"])
            custodian.refuse(configuration: error.message)
            custodian.noteEventually(AuditEvent(
                "configuration", [("result", .text("refused")), ("file", .text(file)), ("reason", .text(error.message))]))
            throw error
        }
    }

    private func read(_ current: Configuration) throws(CustodyError) -> (Configuration, digest: String) {
        let new: Configuration
        do throws(ConfigurationError) {
            new = try Configuration(contentsOf: file)
        } catch {
            throw CustodyError(.configurationInvalid, "nothing was changed: \(error.summary.replacing("\n", with: "; "))")
        }
        let fixed = new.differencesThatNeedRestart(from: current)
        guard fixed.isEmpty else {
            throw CustodyError(
                .configurationInvalid,
                "nothing was changed: \(fixed.joined(separator: ", ")) can't change while the daemon runs; restart it, or put the old values back")
        }
        if let trouble = custodian.trouble(with: new.rules, beyond: current.rules) {
            throw CustodyError(.configurationInvalid, "nothing was changed: \(trouble)")
        }
        return (new, new.digest)
    }
}
