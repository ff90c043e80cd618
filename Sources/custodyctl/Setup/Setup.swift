import Custody
import CustodyServer
import Foundation
import PKCS11
import SecureMemory
import ToolSupport

/// The steps of `setup`, in their order: whatever a later one needs, an earlier one has made. The PIN is kept before the token
/// gets it, and each step looks at what there really is: so an end at any moment loses nothing, and the next run goes on.
final class Setup {
    private let plan: SetupPlan
    private let underWay: SetupUnderWay?
    private let host = HostFiles()
    private let pins: SetupPINs
    /// The daemon reads its credential at its start only.
    private var hasNewCredential = false

    /// - Parameter underWay: nil if nothing is to be made.
    init(_ plan: SetupPlan, _ underWay: SetupUnderWay?) {
        self.plan = plan
        self.underWay = underWay
        pins = SetupPINs(plan)
    }

    var steps: [SetupStep] {
        [accounts]
            + (plan.isSoftHSM ? [softHSM] : [])
            + [configuration, credential, token, auditKey, rootKey]
            + plan.serviceUsers.map(membership)
            + [socket, check]
    }

    /// A library of an HSM does what it likes when it is loaded: SoftHSM writes a file of its token's, others write logs.
    private static let unknown = "unless it is there: a dry run does not load the HSM's library, which may write files"

    private func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

    // MARK: The host

    private var accounts: SetupStep {
        SetupStep(
            title: "user \(SetupPlan.daemonUser), group \(SetupPlan.clientGroup), folders",
            existing: { [self] in
                let isThere = try foldersAreThere()
                return isThere && getpwnam(SetupPlan.daemonUser) != nil && getgrnam(SetupPlan.clientGroup) != nil ? "there" : nil
            },
            make: { [self] in
                guard exists("/usr/lib/sysusers.d/custody.conf") else {
                    throw ToolError("not-installed", "custody's units are not installed here; install the package first")
                }
                try HostCommand("systemd-sysusers", "custody.conf").succeed()
                try HostCommand("systemd-tmpfiles", "--create", "custody.conf").succeed()
                guard try foldersAreThere() else { throw ToolError("not-installed", "systemd-tmpfiles made no folders of custody's; install the package again") }
                return "made"
            })
    }

    /// All of them, and nobody could have put anything into them but root and, where it is theirs, the daemon's user.
    private func foldersAreThere() throws(ToolError) -> Bool {
        var areThere = true
        for path in ["/etc/custody", "/run/custody"] { areThere = try host.isFolder(path, of: .root) && areThere }
        for path in ["/var/lib/custody", "/var/log/custody"] { areThere = try host.isFolder(path, of: .daemon) && areThere }
        return areThere
    }

    private var softHSM: SetupStep {
        SetupStep(
            title: "SoftHSM's configuration \(SetupPlan.softHSMConfiguration)",
            existing: { [self] in try host.isFile(SetupPlan.softHSMConfiguration) ? "there" : nil },
            make: { [self] in
                try host.makeFolders(["softhsm", "tokens"], in: "/var/lib/custody")
                let text = """
                    # A SoftHSM of Custody's own.
                    directories.tokendir = \(SetupPlan.softHSMTokens)
                    objectstore.backend = file
                    log.level = ERROR
                    slots.removable = false

                    """
                try host.write(text, to: SetupPlan.softHSMConfiguration, mode: 0o640, group: SetupPlan.daemonUser)
                return "tokens in \(SetupPlan.softHSMTokens)"
            })
    }

    private var configuration: SetupStep {
        let path = Configuration.defaultPath
        return SetupStep(
            title: "configuration \(path)",
            existing: { [self] in
                guard try host.isFile(path) else { return nil }
                let found = try Configuration(contentsOf: path).token
                guard found.module == plan.module, found.uri == (try TokenURI(plan.tokenURI)) else {
                    throw ToolError(
                        "configuration-differs",
                        "\(path) is there and says module \(found.module), \(found.uri): give the same to setup, or move the file away")
                }
                guard found.pin.path.hasSuffix("/\(SetupPlan.credential)") else {
                    throw ToolError(
                        "configuration-differs",
                        "\(path) is there and takes the PIN from \(found.pin.path): say `pin-credential = \"\(SetupPlan.credential)\"` under [token] instead")
                }
                return "as it is; grants of this command's --service-user are not added to it"
            },
            make: { [self] in
                _ = try Configuration(plan.configuration, file: path)
                try host.write(plan.configuration, to: path, mode: 0o640, group: SetupPlan.daemonUser)
                let users = plan.serviceUsers.joined(separator: ", ")
                return users.isEmpty ? "without a grant for anybody's service" : "grants for \(users)"
            })
    }

    private func membership(_ user: String) -> SetupStep {
        SetupStep(
            title: "\(user) in group \(SetupPlan.clientGroup)",
            existing: {
                let groups = try HostCommand("id", "-Gn", user).run().output.split(whereSeparator: \.isWhitespace)
                return groups.contains { $0 == SetupPlan.clientGroup } ? "there" : nil
            },
            make: {
                try HostCommand("gpasswd", "-a", user, SetupPlan.clientGroup).succeed()
                return "counts for what it starts from now on"
            })
    }

    private var socket: SetupStep {
        func says(_ verb: String) throws -> Bool { try HostCommand("systemctl", verb, "--quiet", "custodyd.socket").run().isSuccess }
        return SetupStep(
            title: "custodyd.socket",
            existing: { try says("is-enabled") && says("is-active") ? "enabled and listening" : nil },
            make: {
                try HostCommand("systemctl", "daemon-reload").succeed()
                try HostCommand("systemctl", "enable", "--now", "custodyd.socket").succeed()
                return "enabled; the first client starts custodyd"
            })
    }

    private var check: SetupStep {
        SetupStep(title: "check", existing: { nil }, make: { [self] in
            if hasNewCredential { try HostCommand("systemctl", "try-restart", "custodyd.service").succeed() }
            let arguments = ["status", "--json", "--config", Configuration.defaultPath, "--deadline-ms", "30000"]
            // The first who asks has systemd start the daemon, and a slow HSM takes its time to log in.
            for _ in 0..<240 {
                let answer = try HostCommand(custodyctl: arguments, asDaemon: false).run()
                if answer.isSuccess { return "custodyd serves" }
                let state = try? Self.decode(StatusAnswer.self, from: Data(answer.bytes)).token.state
                guard state == "recovering" else { throw Self.notServing(answer) }
                Thread.sleep(forTimeInterval: 0.25)
            }
            throw ToolError(
                "not-serving", "custodyd has been connecting to the HSM for a minute; `journalctl -u custodyd` says more",
                exit: ToolExit.unavailable)
        })
    }

    private static func notServing(_ answer: HostCommand.Result) -> ToolError {
        let document = try? Self.decode(StatusAnswer.self, from: Data(answer.bytes))
        let said = document?.token.detail ?? answer.errors.trimmingCharacters(in: .whitespacesAndNewlines)
        return ToolError(
            "not-serving", "custodyd does not serve: \(said.isEmpty ? "`custodyctl status` says why" : said)", exit: ToolExit.unavailable)
    }

    // MARK: The token

    private var credential: SetupStep {
        SetupStep(
            title: "the PIN as credential \(SetupPlan.credential)",
            existing: { [self] in
                guard try pins.isKept() else { return nil }
                try pins.checkThatKeptIsMeant()
                return "there"
            },
            make: { [self] in
                let isThere = try state() == .ready
                let pin = try pins.choose(isNew: !isThere)
                // Logs in once: a wrong one would end up as custodyd's, and lock the token.
                if isThere { _ = try custodyctl(["key", "list", "--json"], pin: pin) }
                try pins.keep(pin)
                hasNewCredential = true
                return "encrypted for this host in \(SetupPlan.credentialFile)"
            })
    }

    private var token: SetupStep {
        SetupStep(
            title: "token '\(plan.label)'", unknown: Self.unknown,
            existing: { [self] in try state() == .ready ? "initialised" : nil },
            make: { [self] in
                let (officer, remark) = try pins.officer()
                let isThere = try state() == .withoutUserPIN
                guard let underWay else { throw ToolError("internal-error", "nothing may be made now") }
                return try underWay.lending(officer) { file in
                    if isThere {
                        // As if somebody had been interrupted between the two.
                        _ = try custodyctl(["token", "set-pin", "--so-pin-file", file], pin: try pins.kept(), flag: "--new-pin-fd")
                        return "its user PIN set" + remark
                    }
                    _ = try custodyctl(["token", "init", "--label", plan.label, "--so-pin-file", file], pin: try pins.kept())
                    return "initialised" + remark
                }
            })
    }

    private var auditKey: SetupStep {
        SetupStep(title: "the key that vouches for the audit log", unknown: Self.unknown, existing: { nil }, make: { [self] in
            let answer = try custodyctl(["audit", "init", "--json"], pin: pins.kept())
            return try Self.decode(AuditKeyAnswer.self, from: Data(answer)).made ? "made" : "there"
        })
    }

    private var rootKey: SetupStep {
        SetupStep(title: "root key '\(plan.key)'", unknown: Self.unknown, existing: { nil }, make: { [self] in
            let answer = try custodyctl(["key", "list", "--json"], pin: pins.kept())
            let found = try Self.decode(KeysAnswer.self, from: Data(answer)).keys.first { $0.name == plan.key }
            guard let found else {
                _ = try custodyctl(["key", "generate", plan.key], pin: pins.kept())
                return "made in the token; it can't leave it"
            }
            guard found.versions.contains(where: \.wraps) else {
                throw ToolError(
                    "key-not-usable",
                    "the key '\(plan.key)' is there, and no version of it wraps: `custodyctl key show \(plan.key)` says why; `custodyctl key enable` or `custodyctl key rotate` gives it one that does")
            }
            return "there"
        })
    }

    // MARK: What custodyctl answers

    private enum TokenPresence { case absent, withoutUserPIN, ready }

    private struct StatusAnswer: Decodable {
        struct Token: Decodable {
            let state: String
            let detail: String?
        }
        let token: Token
    }

    private struct SlotsAnswer: Decodable {
        struct Slot: Decodable {
            struct Token: Decodable {
                let label: String
                let initialized: Bool
                let userPinInitialized: Bool
            }
            let token: Token?
        }
        let slots: [Slot]
    }

    private struct AuditKeyAnswer: Decodable { let made: Bool }

    private struct KeysAnswer: Decodable {
        struct Key: Decodable {
            struct Version: Decodable { let wraps: Bool }
            let name: String
            let versions: [Version]
        }
        let keys: [Key]
    }

    private static func decode<Answer: Decodable>(_ type: Answer.Type, from data: Data) throws -> Answer {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(type, from: data)
    }

    /// Without a configuration, and in a dry run, there is no telling.
    private func state() throws -> TokenPresence {
        guard underWay != nil, exists(Configuration.defaultPath) else { return .absent }
        let answer = try Self.decode(SlotsAnswer.self, from: Data(custodyctl(["slot", "list", "--json"], pin: nil)))
        let token = answer.slots.compactMap(\.token).first { $0.label == plan.label && $0.initialized }
        return token.map { $0.userPinInitialized ? .ready : .withoutUserPIN } ?? .absent
    }

    private func custodyctl(_ arguments: [String], pin: SecretBytes?, flag: String = "--pin-fd") throws(ToolError) -> [UInt8] {
        let common = ["--config", Configuration.defaultPath] + (pin == nil ? [] : [flag, "0"])
        return try HostCommand(custodyctl: arguments + common, asDaemon: true).succeed(input: pin)
    }
}
