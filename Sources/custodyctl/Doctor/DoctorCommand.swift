import ArgumentParser
import Custody
import CustodyServer
import PKCS11
import ToolSupport

/// `doctor`: whether module, token and keys are fit for Custody, found out by trying.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Find out by trying whether the module, the token and its keys fit.",
        discussion: """
            Works with throw-away session keys and changes nothing on the token. The speed is measured by opening one \
            blob again and again, with the newest proven key if there is one: that uses one nonce of it.

            Each line is ok, warn or fail. Exit code 0 if nothing failed; 2 if something does not fit; 69 or 77 if the \
            token could not be reached or the PIN was not accepted, so that the rest is unknown.

            Example: custodyctl doctor --json
            """)

    @OptionGroup var common: CommonOptions

    func run() throws {
        let access = try common.tokenAccess()
        var report = DoctorReport()
        let mistakes = access.configuration?.overlooked.isEmpty == false
        report.add(
            "configuration", mistakes ? .warn : .ok,
            access.configuration == nil ? "none (\(access.configurationPlace)), flags alone"
                : access.configurationPlace + (mistakes ? ": has mistakes, so no daemon starts with it; `custodyd --check-config` names them" : ""))
        var exit = ToolExit.notFitting
        do {
            try examine(access, &report)
        } catch {
            // The step that ended the examination is a line of the report like every other.
            let failure = ToolError(error)
            let step =
                switch report.checks.last?.id {
                case "configuration": "module"
                case "module": "token"
                case "token", "pin", "so-pin": "login"
                default: "keys"
                }
            report.add(step, .fail, failure.message)
            exit = failure.exitCode
        }
        if common.json { try Output.json(report) } else { report.show() }
        if report.result == .fail { throw ExitCode(exit) }
    }

    private func examine(_ access: TokenAccess, _ report: inout DoctorReport) throws {
        try access.withModule { module in
            let info = try module.info()
            report.add("module", .ok, "\(access.module): \(info.libraryDescription) \(info.libraryVersion) by \(info.manufacturer), PKCS#11 \(info.cryptokiVersion)")
            for trouble in ([access.module] + access.environment.values.sorted()).filter({ $0.hasPrefix("/") }).compactMap(TrustedFile.trouble) {
                report.add("module", .warn, "others can change what is loaded: \(trouble)")
            }
            let token = try access.token(module)
            report.token = TokenView(token)
            report.add(
                "token", token.isWriteProtected ? .warn : .ok,
                "'\(token.label)', \(TokenURI(token))" + (token.isWriteProtected ? "; it is write-protected, so keys can't be made on it" : ""))
            Self.pin(token, &report)
            try TokenAccess.checkUserPIN(token)
            let pin = try access.pin.read()
            let session = try module.openSession(token.slot, readWrite: access.onlyReadWrite)
            try access.logIn(session, pin, token)
            report.add("login", .ok, "the user PIN is right")

            TokenTrials(module: module, slot: token.slot).run(session, &report)
            let best = try Self.keys(access, session, &report)
            try Self.auditKeys(session, &report)
            Speedometer(module: module, slot: token.slot, readWrite: access.onlyReadWrite)
                .run(best, configured: access.sessions, session, &report)
        }
    }

    private static func auditKeys(_ session: borrowing Session, _ report: inout DoctorReport) throws {
        let keys = try AuditKeys(session)
        if let key = keys.newest {
            report.add(
                "audit-key", key.trial.warning == nil ? .ok : .warn, "version \(key.id.version) vouches for the audit log: \(key.proof)")
        } else {
            report.add("audit-key", .warn, "the token has none, so nothing vouches for the audit log; `custodyctl audit init` makes one")
        }
        for stranger in keys.strangers.prefix(16) { report.add("audit-key", .warn, stranger.text) }
        if keys.strangers.count > 16 { report.add("audit-key", .warn, "and \(keys.strangers.count - 16) more objects like these") }
    }

    private static func pin(_ token: TokenInfo, _ report: inout DoctorReport) {
        if !token.isLoginRequired {
            report.add("pin", .warn, "the token says that it needs no login, so the PIN protects nothing")
        } else if !token.isUserPINInitialized {
            report.add("pin", .warn, "the token says that no user PIN is set")
        } else if token.isUserPINLocked {
            report.add("pin", .fail, "the user PIN is locked")
        } else if token.isUserPINFinalTry {
            report.add("pin", .fail, "one more wrong user PIN locks the token")
        } else if token.isUserPINCountLow {
            report.add("pin", .warn, "a wrong user PIN was entered since the last right one")
        } else {
            report.add("pin", .ok, "set, \(token.minimumPINLength) to \(token.maximumPINLength) bytes, no wrong one since the last right one")
        }
        if token.isSOPINLocked {
            report.add("so-pin", .warn, "the security officer's PIN is locked: a locked user PIN could not be set anew")
        }
    }

    /// Looks at the keys as the daemon would.
    ///
    /// - Returns: The newest version that wraps and opens, to measure the speed with.
    private static func keys(
        _ access: TokenAccess, _ session: borrowing Session, _ report: inout DoctorReport
    ) throws -> KeyInspection? {
        let catalog = KeyCatalog(exceptions: access.keyExceptions)
        try catalog.refresh(session)
        let ring = catalog.ring
        var good: [String] = []
        // Objects that share a CKA_ID share their reason.
        var said: Set<String> = []
        var best: KeyInspection?
        for (name, versions) in ring.keys {
            for version in versions {
                if case .refused(let reason) = version.state {
                    if said.insert(reason).inserted { report.add("key", .fail, reason) }
                } else if let exception = version.exception {
                    report.add("key", .warn, "key '\(name)' version \(version.version) is \(exception)")
                } else if let warning = version.warning, said.insert(warning).inserted {
                    report.add("key", .warn, "key '\(name)' version \(version.version) is used with this reserve: \(warning)")
                }
            }
            let proven = versions.filter { version in
                if case .refused = version.state { return false }
                return version.exception == nil && version.warning == nil
            }
            let usable = versions.filter { if case .refused = $0.state { false } else { true } }
            if !usable.isEmpty, !versions.contains(where: { $0.state == .active }) {
                report.add("key", .warn, "key '\(name)' has no active version, so nothing can be wrapped under it")
            }
            if !proven.isEmpty { good.append("'\(name)' (\(proven.map { "\($0.version)" }.joined(separator: ", ")))") }
            if best == nil, let active = usable.last(where: { $0.state == .active }) {
                best = try KeyInspection.all(named: name.description, session).first { $0.id == active.id && !$0.key.isPublic }
            }
        }
        for stranger in ring.strangersByName { report.add("key", .warn, stranger.reason) }
        report.add("keys", .ok, good.isEmpty ? "no proven key yet; `custodyctl key generate NAME` makes one" : "proven: \(good.joined(separator: ", "))")
        return best
    }
}
