import ArgumentParser
import Custody
import PKCS11
import SecureMemory
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
    static func name(_ text: String) throws -> KeyName {
        do { return try KeyName(text) } catch { throw ValidationError(error.message) }
    }

    static func make(
        _ name: String, _ common: CommonOptions, reactivate: Bool = false, _ body: (borrowing Session) throws(CustodyError) -> KeyInspection
    ) throws {
        let access = try common.tokenAccess()
        let (key, token) = try makeAlone(name, access, reactivate, body)
        guard let id = key.id else { throw ToolError("internal-error", "the new key has no id") }
        let view = KeyVersionView(key.afterActivation(), known: nil)
        if common.json {
            return try Output.json(Document(token: TokenURI(token).string, name: name, version: view))
        }
        Output.say("Key '\(name)' version \(id.version) is on the token '\(token.label)', CKA_ID \(id).")
        Output.say("  \(view.proven ? "not exportable: " : "")\(view.proof)")
        Output.say("  durable: found again and activated from a fresh process")
    }

    /// Of several processes that make a version of one number at once, one keeps it and the others try again: a rotation
    /// with the next number, and a generation to learn that the key is there.
    private static func makeAlone(
        _ name: String, _ access: TokenAccess, _ reactivate: Bool, _ body: (borrowing Session) throws(CustodyError) -> KeyInspection
    ) throws -> (KeyInspection, TokenInfo) {
        var known: SecretBytes?
        for _ in 1...50 {
            let (key, token, pin) = try access.withUserSession(readWrite: true, pin: known) { _, token, session, pin in
                (try body(session), token, pin)
            }
            guard let id = key.id else { throw ToolError("internal-error", "the new key has no id") }
            if try FreshProcess.findKey(name, id, on: token, access, pin: pin, reactivate: reactivate) { return (key, token) }
            known = pin
        }
        throw ToolError("key-busy", "too many other processes add versions to key '\(name)' at this time; nothing was added, try again", exit: ToolExit.busy)
    }
}
