import ArgumentParser
import Custody
import PKCS11
import ToolSupport

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
        let view = KeyVersionView(key.afterActivation(), known: nil)
        if common.json {
            return try Output.json(Document(token: TokenURI(token).string, name: name, version: view))
        }
        print("Key '\(name)' version \(id.version) is on the token '\(Table.printable(token.label))', CKA_ID \(id).")
        print("  not exportable: \(view.proof)")
        print("  durable: found again and activated from a fresh process")
    }
}
