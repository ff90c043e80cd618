import ArgumentParser
import CustodyServer
import Foundation
import ToolSupport

/// `setup`: from an installed package to a daemon that serves.
struct SetupCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "setup", abstract: "Set Custody up on this host: token, PIN, root key, configuration, socket.",
        discussion: """
            Asks for what no flag says, or takes everything from flags with --yes. Does nothing twice: what is there already is \
            kept as it is, and said so; so it may be run again after anything went wrong. --dry-run shows what it would do.

            Example: custodyctl setup --yes --key payments --service-user billing

            That takes a SoftHSM. For an HSM with a token that is initialised already:
              custodyctl setup --module /opt/vendor/libpkcs11.so --token-label prod --pin-file pin --key payments

            The PIN of a new token is made here and kept as an encrypted systemd credential that only custodyd gets. The PIN of a \
            token that is initialised already is asked for, or read from --pin-file. Run it as root.
            """)

    @Option(help: ArgumentHelp("The HSM's PKCS#11 library (default: SoftHSM's).", valueName: "path"))
    var module: String?

    @Option(name: .customLong("token-label"), help: ArgumentHelp("The token; initialised if there is none of this label.", valueName: "label"))
    var label: String?

    @Option(help: ArgumentHelp("The name of the first root key.", valueName: "name"))
    var key: String?

    @Option(name: .customLong("service-user"), help: ArgumentHelp(
        "A user whose services may wrap and unwrap under the key; may be repeated.", valueName: "user"))
    var serviceUsers: [String] = []

    @Option(name: .customLong("pin-file"), help: ArgumentHelp(
        "The user PIN, of a token that has one or for the new one (default for a new one: made here).", valueName: "file"))
    var pinFile: String?

    @OptionGroup var securityOfficer: SecurityOfficerOptions

    @Flag(help: "Ask nothing: take the default of what no flag says.")
    var yes = false

    @Flag(name: .customLong("dry-run"), help: "Show what would be done, and do nothing.")
    var dryRun = false

    func run() throws {
        guard geteuid() == 0 || dryRun else {
            throw ToolError("denied", "setup writes to /etc and asks systemd to start the socket: run it as root, with sudo", exit: ToolExit.denied)
        }
        let plan = try SetupPlan(
            module: ask("The HSM's PKCS#11 library", module, SetupPlan.softHSM()),
            label: ask("The token's label", label, "custody"), key: ask("The first root key's name", key, "root"),
            serviceUsers: try users(), pinFile: pinFile, securityOfficer: securityOfficer.reader(isNew: true), mayAsk: !yes)
        let run = SetupRun(isDry: dryRun)
        // Who only looks neither waits for another nor takes anything away from him.
        let underWay = dryRun ? nil : try SetupUnderWay()
        try Setup(plan, underWay).steps.forEach(run.take)
        Output.say(dryRun ? "\nNothing was changed." : Self.farewell(plan))
    }

    /// What a flag says, else what a person answers, else the default.
    private func ask(_ what: String, _ flag: String?, _ usual: String?) throws -> String {
        if let flag { return flag }
        if !yes, !dryRun, let answer = try Terminal.answer(usual.map { "\(what) [\($0)]: " } ?? "\(what): ") {
            let text = answer.trimmingCharacters(in: .whitespaces)
            if !text.isEmpty { return text }
        } else if !yes, !dryRun {
            throw ToolError("usage", "there is no terminal to ask at: give --yes to take the defaults, and flags for what differs", exit: ToolExit.usage)
        }
        guard let usual else {
            throw ToolError("usage", "\(what) is not known: SoftHSM is not installed here (apt-get install softhsm2), or name another library with --module", exit: ToolExit.usage)
        }
        return usual
    }

    private func users() throws -> [String] {
        guard serviceUsers.isEmpty, !yes, !dryRun else { return serviceUsers }
        let answer = try Terminal.answer("Users whose services use the key, separated by blanks [none yet]: ") ?? ""
        return answer.split(separator: " ").map(String.init)
    }

    private static func farewell(_ plan: SetupPlan) -> DisplayText {
        let text: DisplayText = "\ncustodyd serves on \(Configuration.defaultSocket); `systemctl status custodyd` and `custodyctl status` show how it does."
        if plan.serviceUsers.isEmpty {
            return text + "\nNobody may use the key yet: add a [[grant]] to \(Configuration.defaultPath), `systemctl reload custodyd`, and\n`adduser USER \(SetupPlan.clientGroup)`."
        } else {
            return text + "\nServices that ran before see the socket when they are restarted: they have joined the group \(SetupPlan.clientGroup)."
        }
    }
}
