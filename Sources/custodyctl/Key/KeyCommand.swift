import ArgumentParser

/// `key`: root keys and their versions.
struct KeyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "Root keys and their versions, from the making to the end.",
        discussion: """
            A root key is a name with versions; each version is one AES-256 key that was made inside the token and never \
            leaves it. The newest active version wraps. States of a version:
              active                      wraps and opens
              deactivated                 opens what it wrapped, wraps no more
              disabled                    neither
              scheduled-for-destruction   neither, and may be destroyed after a day
            The state is on the token itself: the HSM enforces it, and every daemon on the token sees it within a second.

            Example: custodyctl key list
            """,
        subcommands: [
            KeyGenerateCommand.self, KeyListCommand.self, KeyShowCommand.self, KeyRotateCommand.self,
            KeyDeactivateCommand.self, KeyDisableCommand.self, KeyEnableCommand.self, KeyDestroyCommand.self,
        ])
}
