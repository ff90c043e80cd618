import ArgumentParser
import Custody

/// `key deactivate`: opens, wraps no more.
struct KeyDeactivateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deactivate", abstract: "Let versions open what they wrapped, and wrap no more.",
        discussion: """
            The newest version that is still active wraps. From active or disabled; a version that is scheduled for \
            destruction needs `custodyctl key destroy --cancel` first.

            Example: custodyctl key deactivate payments --version 1
            """)

    @OptionGroup var selection: KeySelection
    @OptionGroup var common: CommonOptions

    @Argument(help: "The key's name.")
    var name: String

    func validate() throws { try selection.requireOne() }

    func run() throws {
        try KeyStateChange(name: name, transition: .deactivate, selection: selection, common: common).run()
    }
}
