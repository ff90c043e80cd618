import ArgumentParser
import ByteEncoding
import Custody
import Glibc
import PKCS11
import ToolSupport

/// `key destroy`: removes versions for ever.
struct KeyDestroyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "destroy", abstract: "Destroy versions of a root key for ever.",
        discussion: """
            What was wrapped under a destroyed version never opens again; there is no way back and no copy. The key's name \
            has to be typed, or given by --yes-i-understand. Without --now nothing happens: scheduled destruction is not \
            available yet.

            Example: custodyctl key destroy payments --version 1 --now
            """)

    private struct Document: Encodable {
        struct Version: Encodable {
            let version: UInt32?
            let id: String
        }
        let token: String
        let name: String
        let destroyed: [Version]
    }

    @OptionGroup var common: CommonOptions

    @Argument(help: "The key's name.")
    var name: String

    @Option(help: ArgumentHelp("The version to destroy.", valueName: "n"))
    var version: UInt32?

    @Option(help: ArgumentHelp("Destroy the object of this CKA_ID, 2 hexadecimal digits a byte.", valueName: "hex"))
    var id: String?

    @Flag(help: "Destroy all versions of the key.")
    var all = false

    @Flag(help: "Destroy at once, without a waiting period.")
    var now = false

    @Option(name: .customLong("yes-i-understand"), help: ArgumentHelp("The key's name again, instead of typing it.", valueName: "name"))
    var confirmation: String?

    func validate() throws {
        let selectors = [version != nil, id != nil, all].filter { $0 }.count
        guard selectors == 1 else { throw ValidationError("give one of --version N, --id HEX and --all") }
        guard now else {
            throw ValidationError("scheduled destruction is not available yet; --now destroys at once and for ever")
        }
        if let confirmation, confirmation != name {
            throw ValidationError("--yes-i-understand names '\(confirmation)', the key is '\(name)'; nothing was destroyed")
        }
    }

    func run() throws {
        let access = try common.tokenAccess()
        let document = try access.withUserSession(readWrite: true) { _, token, session, _ in
            let doomed = try select(try KeyInspection.all(named: name, session))
            try confirm(doomed, token)
            var destroyed: [Document.Version] = []
            for key in doomed {
                do {
                    try KeyProvisioner.destroy(key, session)
                } catch {
                    let done = destroyed.map { $0.version.map { "version \($0)" } ?? $0.id }.joined(separator: ", ")
                    var failure = ToolError(error)
                    if !done.isEmpty { failure.message += "; already destroyed: \(done)" }
                    throw failure
                }
                destroyed.append(Document.Version(version: key.id?.version, id: hexadecimal(key.idBytes)))
            }
            return Document(token: TokenURI(token).string, name: name, destroyed: destroyed)
        }
        sync()
        if common.json { return try Output.json(document) }
        for key in document.destroyed {
            print("Key '\(Table.printable(name))'\(key.version.map { " version \($0)" } ?? "") (CKA_ID \(key.id)) is destroyed.")
        }
    }

    /// Which objects go. Keys that Custody did not make go only by their CKA_ID.
    private func select(_ keys: [KeyInspection]) throws -> [KeyInspection] {
        guard !keys.isEmpty else {
            throw CustodyError(.keyNotFound, "there is no key '\(name)' on the token; `custodyctl key list` shows the keys")
        }
        let wanted: [KeyInspection]
        let what: String
        if let version {
            wanted = keys.filter { $0.id?.version == version }
            what = "version \(version)"
            if Set(wanted.map(\.idBytes)).count > 1 {
                let list = wanted.map { hexadecimal($0.idBytes) }.joined(separator: ", ")
                throw ToolError("key-ambiguous", "key '\(name)' has several versions \(version); select one by --id: \(list)")
            }
        } else if let id {
            wanted = keys.filter { hexadecimal($0.idBytes) == id.lowercased() }
            what = "object with the CKA_ID \(id)"
        } else {
            wanted = keys.filter { $0.id != nil }
            what = "version made by Custody; --id destroys a foreign key"
        }
        guard !wanted.isEmpty else {
            throw CustodyError(.keyNotFound, "key '\(name)' has no \(what); `custodyctl key show \(name)` shows what there is")
        }
        // Two objects of one CKA_ID and label can't be told apart, and one of them may be the real one.
        guard wanted.count == 1 || all else {
            throw ToolError("key-ambiguous", "\(wanted.count) objects '\(name)' have the CKA_ID \(hexadecimal(wanted[0].idBytes)); --all destroys all versions, the vendor's tool destroys a single object")
        }
        return wanted
    }

    private func confirm(_ keys: [KeyInspection], _ token: TokenInfo) throws {
        if confirmation != nil { return }
        let question = "This destroys for ever, on token '\(token.label)':\n"
            + keys.map { "  \(KeyProvisioner.title($0))\n" }.joined()
            + "What was wrapped under it never opens again. Type the key's name to go on: "
        guard Terminal.isInteractive, let typed = try Terminal.answer(Table.printable(question)) else {
            throw ToolError.usage("nobody is at the terminal to type the key's name; --yes-i-understand \(name) stands for it. Nothing was destroyed")
        }
        guard typed == name else { throw ToolError("not-confirmed", "'\(typed)' is not '\(name)'; nothing was destroyed") }
    }
}
