import ArgumentParser
import Custody
import PKCS11

/// `key rotate`: the next version of a root key.
struct KeyRotateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate", abstract: "Add a version to a root key; the new one wraps from now on.",
        discussion: """
            Older versions keep opening what was wrapped under them, and running daemons need no restart. The new number is \
            one more than the highest on the token, whatever state that version is in. If the newest version was destroyed, \
            its number comes again; its CKA_ID, which is what blobs name, is random and never does.

            A key none of whose versions is active was taken out of use, and stays so unless --reactivate says otherwise.

            Example: custodyctl key rotate payments
            """)

    @OptionGroup var common: CommonOptions

    @Flag(help: "Also if no version of the key is active; the new one wraps then.")
    var reactivate = false

    @Argument(help: "The key's name.")
    var name: String

    func validate() throws { _ = try NewKey.name(name) }

    func run() throws {
        try NewKey.make(name, common, reactivate: reactivate) { session throws(CustodyError) in
            try KeyProvisioner.rotate(name, reactivate: reactivate, session)
        }
    }
}
