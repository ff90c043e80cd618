import ArgumentParser
import ByteEncoding
import Custody
import PKCS11
import SecureMemory
import ToolSupport

/// Hidden: finds, proves and activates a new key. Run in a fresh process by `key generate` and `key rotate`, with the user PIN on its standard input.
struct FindKeyCommand: ParsableCommand {
    static let commandName = "find-key"
    static let configuration = CommandConfiguration(
        commandName: commandName, abstract: "Find, prove and activate one key; its PIN comes on standard input.", shouldDisplay: false)

    @Option var module: String
    @Option var token: String
    @Option var initializationString: String?
    @Option var name: String
    @Option var id: String
    @Flag var reactivate = false

    func run() throws {
        let access = TokenAccess(
            module: module, initializationString: initializationString,
            // The parent set the environment already.
            environment: [:], uri: try TokenURI(token),
            pin: PINReader(what: "user PIN", flag: "--pin", file: nil, descriptor: 0), configuration: nil,
            configurationPlace: "none")
        try access.withUserSession(readWrite: true) { _, _, session, _ in
            let found = try KeyInspection.all(named: name, session).filter { hexadecimal($0.idBytes) == id && !$0.key.isPublic }
            guard found.count == 1 else {
                throw ToolError("key-not-found", "the token shows \(found.count) keys '\(name)' with the CKA_ID \(id)")
            }
            guard found[0].findings.isEmpty else { throw ToolError("key-refused", found[0].findings.joined(separator: "; ")) }
            guard try KeyProvisioner.claim(found[0].key, session) else {
                throw ToolError("key-number-taken", "another process has the number; the key was destroyed", exit: ToolExit.busy)
            }
            guard try KeyProvisioner.activate(found[0].key, reactivate: reactivate, session) else {
                throw ToolError("key-not-usable", "the key was taken out of use", exit: ToolExit.notFitting)
            }
        }
    }
}
