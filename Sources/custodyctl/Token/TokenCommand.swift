import ArgumentParser

/// `token`: make a token ready and keep its PINs.
struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Initialise a token, show it, set its PINs.",
        discussion: "Example: custodyctl token show",
        subcommands: [TokenInitCommand.self, TokenShowCommand.self, TokenSetPINCommand.self, TokenRetryPINCommand.self])
}
