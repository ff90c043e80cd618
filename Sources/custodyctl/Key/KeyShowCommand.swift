import ArgumentParser
import Custody
import PKCS11
import ToolSupport

/// `key show`: the proof, version by version.
struct KeyShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show every version of a key with the proof that it can't leave the token.",
        discussion: """
            Reads the attributes back from the token and tries to wrap each version out under a throw-away key, because \
            some tokens report the right attributes and hand the key out all the same.

            Example: custodyctl key show payments
            """)

    private struct Document: Encodable {
        let token: String
        let name: String
        let versions: [KeyVersionView]
        /// Keys of the same label that Custody did not make.
        let foreignKeys: [KeyVersionView]
    }

    @OptionGroup var common: CommonOptions

    @Argument(help: "The key's name.")
    var name: String

    func run() throws {
        let access = try common.tokenAccess()
        let (token, views) = try access.withUserSession(readWrite: false) { _, token, session, _ in
            let catalog = KeyCatalog(exceptions: access.keyExceptions)
            try catalog.refresh(session)
            let views = try KeyInspection.all(named: name, session).map { key in
                KeyVersionView(key, known: catalog.ring.version(key.key))
            }
            return (TokenURI(token).string, views)
        }
        guard !views.isEmpty else {
            throw CustodyError(.keyNotFound, "there is no key '\(name)' on the token; `custodyctl key list` shows the keys")
        }
        if common.json {
            return try Output.json(Document(
                token: token, name: name, versions: views.filter { $0.version != nil },
                foreignKeys: views.filter { $0.version == nil }))
        }
        for (index, view) in views.enumerated() {
            if index > 0 { Output.say("") }
            view.show(name)
        }
    }
}
