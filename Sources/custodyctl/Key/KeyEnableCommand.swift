import ArgumentParser
import Custody

/// `key enable`: wraps and opens.
struct KeyEnableCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "enable", abstract: "Let versions wrap and open again.",
        discussion: """
            From deactivated or disabled. A version that is scheduled for destruction needs `custodyctl key destroy \
            --cancel` first; one that fails the proof of custody is refused.

            Example: custodyctl key enable payments --version 1
            """)

    @OptionGroup var selection: KeySelection
    @OptionGroup var common: CommonOptions

    @Argument(help: "The key's name.")
    var name: String

    func validate() throws { try selection.requireOne() }

    func run() throws {
        try KeyStateChange(name: name, transition: .enable, selection: selection, common: common).run()
    }
}
