import ArgumentParser
import ToolSupport

/// The operator's tool.
@main
struct Custodyctl: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "custodyctl",
        abstract: "Provision and check the token that holds Custody's root keys.",
        discussion: """
            A first key on a fresh token:
              custodyctl slot list
              custodyctl token init --label custody --so-pin-file so.pin --pin-file user.pin
              custodyctl key generate payments
              custodyctl doctor

            Module, token, PIN and socket come from the configuration file; flags override it. PINs come from files, \
            descriptors or a prompt, never from arguments.

            Exit codes: 0 done; 1 failed; 2 the token does not fit (doctor); 64 wrong usage; 69 the module or token is \
            not available; 71 the system does not tell the arguments; 75 another process is at the same; 77 denied, or a PIN was refused; 78 the configuration or a PIN file is wrong or missing.
            """,
        subcommands: clientCommands + tokenCommands + configurationCommands + hiddenCommands)

    /// The commands that speak to the daemon.
    private static let clientCommands: [any ParsableCommand.Type] = [
        StatusCommand.self, TopCommand.self, MetricsCommand.self, ReloadCommand.self, DisconnectCommand.self, WrapCommand.self, UnwrapCommand.self, RewrapCommand.self, DataKeyCommand.self,
    ]

    /// The commands that work on the token.
    private static let tokenCommands: [any ParsableCommand.Type] = [
        SetupCommand.self, SlotCommand.self, TokenCommand.self, KeyCommand.self, AuditCommand.self, DoctorCommand.self,
    ]

    /// The commands that only read the configuration.
    private static let configurationCommands: [any ParsableCommand.Type] = [PolicyCommand.self]

    /// What the tool runs itself in a fresh process.
    private static let hiddenCommands: [any ParsableCommand.Type] = [FindKeyCommand.self]

    static func main() async { await ToolMain.run(Custodyctl.self) { ToolError($0) } }
}
