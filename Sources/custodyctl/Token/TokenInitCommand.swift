import ArgumentParser
import Glibc
import PKCS11
import SecureMemory
import ToolSupport

/// `token init`: gives a token its label and both PINs.
struct TokenInitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Initialise a token: label, security officer's PIN, user PIN.",
        discussion: """
            Takes the first uninitialised slot unless --slot names one. An initialised token is erased, with every key on \
            it, only if --erase gives its current label; then its present security officer's PIN is needed.

            Example: custodyctl token init --label custody --so-pin-file so.pin --pin-file user.pin
            """)

    @OptionGroup var common: CommonOptions
    @OptionGroup var securityOfficer: SecurityOfficerOptions

    @Option(help: ArgumentHelp("The new label, 1 to 32 bytes.", valueName: "label"))
    var label: String

    @Option(help: ArgumentHelp("The slot's number, as `slot list` prints it.", valueName: "number"))
    var slot: UInt?

    @Option(help: ArgumentHelp("Erase the token of this label and every key on it.", valueName: "label"))
    var erase: String?

    func validate() throws {
        guard (1...32).contains(label.utf8.count) else {
            throw ValidationError("--label has 1 to 32 bytes, not \(label.utf8.count)")
        }
    }

    func run() throws {
        let access = try common.tokenAccess(needsToken: false)
        let before = try access.withModule { module in try initialise(module, access) }
        sync()
        // Some modules give the token another slot only when they are initialised again.
        let token = try access.withModule { module in
            let found = try module.slots(withToken: true).compactMap { try? module.tokenInfo($0) }
                .filter { $0.isInitialized && $0.isLabelled(label) }
            // An uninitialised slot may have no serial yet; labels are unique, initialise() saw to it.
            guard let token = found.first(where: { $0.slot == before.slot }) ?? found.first else {
                throw ToolError("token-not-found", "the module initialised the token '\(label)' but does not show it", exit: ToolExit.unavailable)
            }
            return token
        }
        let view = TokenView(token)
        if common.json { return try Output.json(TokenDocument(token: view)) }
        view.show()
        Output.say("\nThe token is ready. For the configuration file:\n  uri = \"\(view.uri)\"\nNext: custodyctl audit init, and custodyctl key generate NAME")
    }

    private func initialise(_ module: Module, _ access: TokenAccess) throws -> TokenInfo {
        let tokens = try module.slots(withToken: true).map { try module.tokenInfo($0) }
        let token = try choose(tokens)
        if let same = tokens.first(where: { $0.isInitialized && $0.isLabelled(label) && $0.slot != token.slot }) {
            throw ToolError(
                "label-taken", "slot \(same.slot.rawValue) holds a token '\(label)' already; two of one label are told apart by their serial numbers only, choose another label")
        }
        try TokenAccess.checkSecurityOfficerPIN(token)
        let soPIN = try securityOfficer.reader(isNew: !token.isInitialized).read()
        var user = access.pin
        user.isNew = true
        let userPIN = try user.read()
        try TokenAccess.checkLength(soPIN, "security officer's PIN", token)
        try TokenAccess.checkLength(userPIN, "user PIN", token)

        if token.isInitialized {
            try access.attempting(soPIN, of: .securityOfficer, on: token) { () throws(PKCS11Error) in
                try module.initToken(token.slot, label: label, soPIN: soPIN)
            }
            access.forgetAttempts(token)
        } else {
            try module.initToken(token.slot, label: label, soPIN: soPIN)
        }
        let session = try module.openSession(token.slot, readWrite: true)
        try session.login(.securityOfficer, pin: soPIN)
        try session.initPIN(userPIN)
        return token
    }

    private func choose(_ tokens: [TokenInfo]) throws(ToolError) -> TokenInfo {
        let token: TokenInfo
        if let slot {
            guard let there = tokens.first(where: { $0.slot.rawValue == slot }) else {
                throw ToolError("token-not-found", "slot \(slot) does not exist or holds no token; `custodyctl slot list` shows the slots", exit: ToolExit.unavailable)
            }
            token = there
        } else if let erase {
            let named = tokens.filter { $0.isInitialized && $0.isLabelled(erase) }
            guard named.count == 1 else {
                let found = named.isEmpty ? "no token has" : "\(named.count) tokens have"
                throw ToolError(named.isEmpty ? "token-not-found" : "token-ambiguous", "\(found) the label '\(erase)'; name one with --slot, `custodyctl slot list` shows the slots", exit: ToolExit.unavailable)
            }
            token = named[0]
        } else {
            guard let free = tokens.first(where: { !$0.isInitialized }) else {
                throw ToolError("token-not-found", "no slot holds an uninitialised token; `custodyctl slot list` shows the slots, --erase LABEL erases a token", exit: ToolExit.unavailable)
            }
            token = free
        }
        switch (token.isInitialized, erase) {
        case (true, let named?) where token.isLabelled(named): return token
        case (false, nil): return token
        case (true, nil):
            throw ToolError("would-erase", "slot \(token.slot.rawValue) holds the initialised token '\(token.label)'; to erase it with every key on it give --erase '\(token.label)'")
        case (true, let other?):
            throw ToolError("would-erase", "the token in slot \(token.slot.rawValue) is not '\(other)' but '\(token.label)'; nothing was erased")
        case (false, let other?):
            throw ToolError("token-not-found", "the token in slot \(token.slot.rawValue) is not initialised, so it is not '\(other)'; leave --erase out", exit: ToolExit.unavailable)
        }
    }
}
