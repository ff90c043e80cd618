import Custody
import CustodyServer
import Foundation
import PKCS11
import SecureMemory
import ToolSupport

/// The steps of `setup`, in their order: whatever a later one needs, an earlier one has made. The PIN is kept before the token
/// gets it, so that an end at any moment loses nothing.
final class Setup {
    private let plan: SetupPlan
    private let host: HostFiles
    private var knownPIN: SecretBytes?

    init(_ plan: SetupPlan) {
        self.plan = plan
        host = HostFiles()
    }

    var steps: [SetupStep] {
        [accounts]
            + (plan.isSoftHSM ? [softHSM] : [])
            + [configuration, credential, token, auditKey, rootKey]
            + plan.serviceUsers.map(membership)
            + [socket, check]
    }

    // MARK: The host

    private var accounts: SetupStep {
        SetupStep(
            title: "user \(SetupPlan.daemonUser), group \(SetupPlan.clientGroup), folders",
            existing: {
                let folders = ["/etc/custody", "/var/lib/custody", "/var/log/custody", "/run/custody"]
                guard getpwnam(SetupPlan.daemonUser) != nil, getgrnam(SetupPlan.clientGroup) != nil,
                    folders.allSatisfy({ FileManager.default.fileExists(atPath: $0) })
                else { return nil }
                return "there"
            },
            make: {
                guard FileManager.default.fileExists(atPath: "/usr/lib/sysusers.d/custody.conf") else {
                    throw ToolError("not-installed", "custody's units are not installed here; install the package first")
                }
                try HostCommand("systemd-sysusers", "custody.conf").succeed()
                try HostCommand("systemd-tmpfiles", "--create", "custody.conf").succeed()
                return "made"
            })
    }

    private var softHSM: SetupStep {
        SetupStep(
            title: "SoftHSM's configuration \(SetupPlan.softHSMConfiguration)",
            existing: { FileManager.default.fileExists(atPath: SetupPlan.softHSMConfiguration) ? "there" : nil },
            make: { [host] in
                let folder = "/var/lib/custody/softhsm/tokens"
                try HostCommand("install", "-d", "-m", "0700", "-o", SetupPlan.daemonUser, "-g", SetupPlan.daemonUser, "/var/lib/custody/softhsm", folder).succeed()
                try host.write(
                    "# A SoftHSM of Custody's own.\ndirectories.tokendir = \(folder)\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
                    to: SetupPlan.softHSMConfiguration, mode: 0o640, group: SetupPlan.daemonUser)
                return "tokens in \(folder)"
            })
    }

    private var configuration: SetupStep {
        let path = Configuration.defaultPath
        return SetupStep(
            title: "configuration \(path)",
            existing: { [plan] in
                guard FileManager.default.fileExists(atPath: path) else { return nil }
                let found = try Configuration(contentsOf: path)
                guard found.token.module == plan.module, found.token.uri == (try TokenURI(plan.tokenURI)) else {
                    throw ToolError(
                        "configuration-differs",
                        "\(path) is there and says module \(found.token.module), \(found.token.uri): give the same to setup, or move the file away")
                }
                return "as it is; grants of this command's --service-user are not added to it"
            },
            make: { [plan, host] in
                _ = try Configuration(plan.configuration, file: path)
                try host.write(plan.configuration, to: path, mode: 0o640, group: SetupPlan.daemonUser)
                return plan.serviceUsers.isEmpty ? "without a grant for anybody's service" : "grants for \(plan.serviceUsers.joined(separator: ", "))"
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
        SetupStep(
            title: "custodyd.socket",
            existing: {
                try HostCommand("systemctl", "is-enabled", "--quiet", "custodyd.socket").run().isSuccess
                    && HostCommand("systemctl", "is-active", "--quiet", "custodyd.socket").run().isSuccess ? "enabled and listening" : nil
            },
            make: {
                try HostCommand("systemctl", "daemon-reload").succeed()
                try HostCommand("systemctl", "enable", "--now", "custodyd.socket").succeed()
                return "enabled; the first client starts custodyd"
            })
    }

    // MARK: The token

    private var credential: SetupStep {
        SetupStep(
            title: "the PIN as credential \(SetupPlan.credential)",
            existing: { FileManager.default.fileExists(atPath: SetupPlan.credentialFile) ? "there" : nil },
            make: { [self] in
                let isThere = try hasToken()
                let pin = try choosePIN(isNew: !isThere)
                // A wrong one would lock the token from custodyd's side.
                if isThere { try prove(pin) }
                try HostCommand("install", "-d", "-m", "0700", "/etc/credstore.encrypted").succeed()
                try HostCommand("systemd-creds", "encrypt", "--name=\(SetupPlan.credential)", "-", SetupPlan.credentialFile)
                    .succeed(input: pin.exposed())
                chmod(SetupPlan.credentialFile, 0o600)
                sync()
                knownPIN = pin
                return "encrypted for this host in \(SetupPlan.credentialFile)"
            })
    }

    private var token: SetupStep {
        SetupStep(
            title: "token '\(plan.label)'",
            existing: { [self] in try hasToken() ? "initialised" : nil },
            make: { [self] in
                let (soPIN, remark) = try securityOfficerPIN()
                let file = try host.lend(soPIN)
                defer { unlink(file) }
                _ = try custodyctl(["token", "init", "--label", plan.label, "--so-pin-file", file], pin: try pin())
                return "initialised" + remark
            })
    }

    private var auditKey: SetupStep {
        SetupStep(title: "the key that vouches for the audit log", existing: { nil }, make: { [self] in
            let made = try JSONDecoder().decode(AuditKeyAnswer.self, from: Data(custodyctl(["audit", "init", "--json"], pin: pin()).utf8))
            return made.made ? "made" : "there"
        })
    }

    private var rootKey: SetupStep {
        SetupStep(title: "root key '\(plan.key)'", existing: { nil }, make: { [self] in
            let list = try JSONDecoder().decode(KeysAnswer.self, from: Data(custodyctl(["key", "list", "--json"], pin: pin()).utf8))
            if list.keys.contains(where: { $0.name == plan.key }) { return "there" }
            _ = try custodyctl(["key", "generate", plan.key], pin: pin())
            return "made in the token; it can't leave it"
        })
    }

    private var check: SetupStep {
        SetupStep(title: "check", existing: { nil }, make: {
            // The first who asks has systemd start the daemon.
            let answer = try HostCommand(custodyctl: ["status", "--json", "--config", Configuration.defaultPath, "--deadline-ms", "60000"]).run()
            guard answer.isSuccess else {
                let why = answer.errors.trimmingCharacters(in: .whitespacesAndNewlines)
                throw ToolError(
                    "not-serving", "custodyd does not serve yet: \(why.isEmpty ? "`custodyctl status` and `journalctl -u custodyd` say why" : why)", exit: ToolExit.unavailable)
            }
            return "custodyd serves"
        })
    }

    // MARK: PINs

    private struct Slots: Decodable {
        struct Slot: Decodable {
            struct Token: Decodable {
                let label: String
                let initialized: Bool
            }
            let token: Token?
        }
        let slots: [Slot]
    }

    private struct AuditKeyAnswer: Decodable { let made: Bool }

    private struct KeysAnswer: Decodable {
        struct Key: Decodable { let name: String }
        let keys: [Key]
    }

    /// Without a configuration there is no telling.
    private func hasToken() throws -> Bool {
        guard FileManager.default.fileExists(atPath: Configuration.defaultPath), geteuid() == 0 else { return false }
        let answer = try JSONDecoder().decode(Slots.self, from: Data(custodyctl(["slot", "list", "--json"], pin: nil).utf8))
        return answer.slots.contains { $0.token?.label == plan.label && $0.token?.initialized == true }
    }

    private func custodyctl(_ arguments: [String], pin: SecretBytes?) throws(ToolError) -> String {
        let common = ["--config", Configuration.defaultPath] + (pin == nil ? [] : ["--pin-fd", "0"])
        return try HostCommand(custodyctl: arguments + common).succeed(input: pin?.exposed() ?? [])
    }

    /// Logs in once.
    private func prove(_ pin: SecretBytes) throws(ToolError) { _ = try custodyctl(["key", "list", "--json"], pin: pin) }

    /// The PIN that is kept for the daemon.
    private func pin() throws -> SecretBytes {
        if let knownPIN { return knownPIN }
        let text = try HostCommand("systemd-creds", "decrypt", "--name=\(SetupPlan.credential)", SetupPlan.credentialFile, "-").succeed()
        let pin = SecretBytes(Array(text.utf8))
        knownPIN = pin
        return pin
    }

    private func choosePIN(isNew: Bool) throws -> SecretBytes {
        if let file = plan.pinFile { return try PINSource(path: file).read() }
        if isNew { return SecretBytes(Self.randomPIN()) }
        guard let pin = try Terminal.secret("user PIN of token '\(plan.label)': ") else {
            throw ToolError("pin-unavailable", "the token '\(plan.label)' is there already: give its user PIN with --pin-file", exit: ToolExit.configuration)
        }
        return pin
    }

    /// Kept on this host until an operator takes it away: without it nobody unlocks a PIN.
    private func securityOfficerPIN() throws -> (SecretBytes, String) {
        if plan.securityOfficer.isGiven { return (try plan.securityOfficer.read(), "") }
        let path = "/etc/custody/so.pin"
        if !FileManager.default.fileExists(atPath: path) {
            try host.write(String(decoding: Self.randomPIN(), as: UTF8.self) + "\n", to: path, mode: 0o400, group: "root")
        }
        return (try PINSource(path: path).read(), "; the security officer's PIN is in \(path): TAKE IT AWAY to a safe place")
    }

    /// 100 bits, of letters and digits that nobody mistakes for others.
    private static func randomPIN() -> [UInt8] {
        let letters = Array("abcdefghijkmnpqrstuvwxyz23456789".utf8)
        return (0..<20).map { _ in letters[Int.random(in: 0..<letters.count)] }
    }
}
