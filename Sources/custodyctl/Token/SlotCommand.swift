import ArgumentParser

/// `slot`: what the module shows.
struct SlotCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "slot", abstract: "Look at the module's slots.", discussion: "Example: custodyctl slot list",
        subcommands: [SlotListCommand.self])
}
