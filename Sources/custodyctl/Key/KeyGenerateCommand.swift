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

    func validate() throws { try NewKey.checkName(name) }

    func run() throws {
        try NewKey.make(name, common) { session throws(CustodyError) in try KeyProvisioner.generate(name, session) }
    }
}

/// `key rotate`: the next version of a root key.
struct KeyRotateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate", abstract: "Add a version to a root key; the new one wraps from now on.",
        discussion: """
            Older versions keep opening what was wrapped under them. The new number is one more than the highest on the \
            token, whatever state that version is in.

            Example: custodyctl key rotate payments
            """)

    @OptionGroup var common: CommonOptions

    @Argument(help: "The key's name.")
    var name: String

    func validate() throws { try NewKey.checkName(name) }

    func run() throws {
        try NewKey.make(name, common) { session throws(CustodyError) in try KeyProvisioner.rotate(name, session) }
    }
}

/// What `generate` and `rotate` have in common.
enum NewKey {
    private struct Document: Encodable {
        let token: String
        let name: String
        let version: KeyVersionView
        let foundFromFreshProcess = true
    }

    /// A name that is not allowed is wrong usage.
    static func checkName(_ name: String) throws {
        do { try KeyName.check(name) } catch { throw ValidationError(error.message) }
    }

    static func make(
        _ name: String, _ common: CommonOptions, _ body: (borrowing Session) throws(CustodyError) -> KeyInspection
    ) throws {
        let access = try common.tokenAccess()
        let (key, token, pin) = try access.withUserSession(readWrite: true) { _, token, session, pin in
            (try body(session), token, pin)
        }
        guard let id = key.id else { throw ToolError("internal-error", "the new key has no id") }
        try FreshProcess.findKey(name, id, on: token, access, pin: pin)
        let view = KeyVersionView(key, known: nil)
        if common.json {
            return try Output.json(Document(token: TokenURI(token).string, name: name, version: view))
        }
        print("Key '\(name)' version \(id.version) is on the token '\(Table.printable(token.label))', CKA_ID \(id).")
        print("  not exportable: \(view.proof)")
        print("  durable: found again from a fresh process")
    }
}
