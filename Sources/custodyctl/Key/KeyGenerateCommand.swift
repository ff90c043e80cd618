import ArgumentParser
import Custody
import PKCS11

/// `key generate`: version 1 of a new root key.
struct KeyGenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate", abstract: "Make a new root key inside the token and prove that it can't leave it.",
        discussion: """
            The key is said to exist only after it was proven and found again from a fresh process.

            Example: custodyctl key generate payments
            """)

    @OptionGroup var common: CommonOptions

    @Argument(help: "The key's name: 1 to 64 characters of A-Z a-z 0-9 . _ -")
    var name: String

    func validate() throws { _ = try NewKey.name(name) }

    func run() throws {
        try NewKey.make(name, common) { session throws(CustodyError) in try KeyProvisioner.generate(name, session) }
    }
}
