import ArgumentParser
import PKCS11
import ToolSupport

/// `token show`: the token as anybody may see it.
struct TokenShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show the token and the state of its PINs; nobody logs in.",
        discussion: "Example: custodyctl token show --token pkcs11:token=custody")

    @OptionGroup var common: CommonOptions

    func run() throws {
        let access = try common.tokenAccess()
        let view = TokenView(try access.withModule { try access.token($0) })
        if common.json { try Output.json(TokenDocument(token: view)) } else { view.show() }
    }
}
