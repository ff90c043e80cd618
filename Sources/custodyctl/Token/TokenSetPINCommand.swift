import ArgumentParser
import Glibc
import PKCS11
import SecureMemory
import ToolSupport

/// `token set-pin`: the user changes the own PIN, or the security officer sets the user's.
struct TokenSetPINCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set-pin", abstract: "Change the user PIN, or set it as the security officer.",
        discussion: """
            With --so-pin-file, --so-pin-fd or --so the security officer sets the user PIN, also a locked one. Otherwise \
            the user changes it, with one attempt at the old PIN. A running custodyd keeps its login; its PIN file needs \
            the new PIN before it starts again.

            Example: custodyctl token set-pin --pin-file user.pin --new-pin-file new.pin
            """)

    private struct Document: Encodable {
        let token: TokenView
        let setBy: String
    }

    @OptionGroup var common: CommonOptions
    @OptionGroup var securityOfficer: SecurityOfficerOptions

    @Flag(help: "Ask for the security officer's PIN at the terminal.")
    var so = false

    @Option(name: .customLong("new-pin-file"), help: ArgumentHelp(
        "A file with the new user PIN that only its owner can read.", valueName: "file"))
    var newFile: String?

    @Option(name: .customLong("new-pin-fd"), help: ArgumentHelp("An open descriptor to read the new user PIN from.", valueName: "n"))
    var newDescriptor: Int32?

    private var newReader: PINReader {
        PINReader(what: "new user PIN", flag: "--new-pin", file: newFile, descriptor: newDescriptor, isNew: true)
    }

    func validate() throws { try newReader.validate() }

    func run() throws {
        let access = try common.tokenAccess()
        let officer = securityOfficer.reader(isNew: false)
        let isOfficer = so || officer.isGiven
        let token = try access.withModule { module in
            let token = try access.token(module)
            if isOfficer { try setAsOfficer(module, token, officer, access) } else { try change(module, token, access) }
            access.forgetAttempts(token)
            return try access.token(module)
        }
        sync()
        if common.json {
            return try Output.json(Document(token: TokenView(token), setBy: isOfficer ? "security_officer" : "user"))
        }
        Output.say("The user PIN of token '\(token.label)' is set. Put it into the PIN file that custodyd reads.")
    }

    private func setAsOfficer(_ module: Module, _ token: TokenInfo, _ officer: PINReader, _ access: TokenAccess) throws {
        try TokenAccess.checkSecurityOfficerPIN(token)
        let pin = try officer.read()
        let new = try newReader.read()
        try TokenAccess.checkLength(new, "new user PIN", token)
        let session = try module.openSession(token.slot, readWrite: true)
        try access.attempting(pin, of: .securityOfficer, on: token) { () throws(PKCS11Error) in try session.login(.securityOfficer, pin: pin) }
        try session.initPIN(new)
    }

    private func change(_ module: Module, _ token: TokenInfo, _ access: TokenAccess) throws {
        try TokenAccess.checkUserPIN(token)
        let old = try access.pin.read()
        let new = try newReader.read()
        try TokenAccess.checkLength(new, "new user PIN", token)
        let session = try module.openSession(token.slot, readWrite: true)
        try access.attempting(old, on: token) { () throws(PKCS11Error) in try session.setPIN(old: old, new: new) }
    }
}
