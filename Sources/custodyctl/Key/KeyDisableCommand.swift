import ArgumentParser
import Custody

/// `key disable`: the kill switch.
struct KeyDisableCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "disable", abstract: "Stop versions at once: they neither wrap nor open.",
        discussion: """
            The kill switch. The token itself refuses the key from then on, to every daemon on it; `custodyctl key enable` \
            takes it back. A version that is scheduled for destruction is disabled already.

            Example: custodyctl key disable payments --all
            """)

    @OptionGroup var selection: KeySelection
    @OptionGroup var common: CommonOptions

    @Argument(help: "The key's name.")
    var name: String

    func validate() throws { try selection.requireOne() }

    func run() throws {
        try KeyStateChange(name: name, transition: .disable, selection: selection, common: common).run()
    }
}
