import ArgumentParser

/// `key`: root keys and their versions.
struct KeyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "Generate, list, show, rotate and destroy root keys.",
        discussion: """
            A root key is a name with versions; each version is one AES-256 key that was made inside the token and never \
            leaves it. The newest active version wraps.

            Example: custodyctl key list
            """,
        subcommands: [
            KeyGenerateCommand.self, KeyListCommand.self, KeyShowCommand.self, KeyRotateCommand.self, KeyDestroyCommand.self,
        ])
}
