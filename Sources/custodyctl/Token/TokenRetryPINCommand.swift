import ArgumentParser
import Custody
import CustodyServer
import ToolSupport

/// `token retry-pin`: an operator says that PINs which the token refused may be tried again.
struct TokenRetryPINCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retry-pin", abstract: "Have a PIN tried again that the token refused.",
        discussion: """
            custodyd and custodyctl try no PIN that the token has refused, nor one of which two attempts ended before the token's answer was \
            known: tokens lock after a few wrong ones. Another PIN in the PIN file is tried without this. First see how the PIN \
            stands with `custodyctl token show`, and that yours is the right one; then run this, and `custodyctl reload` if \
            custodyd runs. Nothing is asked of the token.

            Example: custodyctl token retry-pin
            """)

    private struct Document: Encodable {
        let record: String
        /// False if nothing was recorded.
        let forgotten: Bool
    }

    @OptionGroup var common: CommonOptions

    func run() throws {
        let (configuration, place) = try common.configuration(judging: ["state"])
        guard let attempts = configuration?.token.pinAttempts else {
            throw ToolError.configuration("no record of attempts at PINs is named: give a configuration file by --config (\(place))")
        }
        let forgotten = try attempts.forgetAll()
        if common.json { return try Output.json(Document(record: attempts.path, forgotten: forgotten)) }
        Output.say(
            forgotten
                ? "What was recorded of refused PINs is forgotten: the next attempt is made, by custodyd at its start or after `custodyctl reload`."
                : "No refused PIN is recorded in \(attempts.path).")
    }
}
