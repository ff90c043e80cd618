import Custody
import CustodyServer
import Glibc
import PKCS11
import SecureMemory
import ToolSupport

/// The way of every command to the module: what is opened here is closed here, C_Finalize included.
struct TokenAccess {
    let module: String
    let initializationString: String?
    /// What the vendor's module wants in the environment.
    let environment: [String: String]
    /// nil for commands that look at slots.
    let uri: TokenURI?
    let pin: PINReader
    let configuration: Configuration?
    /// Where the configuration was read from, or why there is none.
    let configurationPlace: String

    /// Some HSMs refuse read-only sessions.
    var onlyReadWrite: Bool { configuration?.token.readWriteSessions == true }
    /// How many sessions the daemon is told to use.
    var sessions: Int? { configuration?.token.sessions }
    /// Keys that the operator wants used although the proof fails.
    var keyExceptions: Set<KeyName> { configuration?.keys.exceptions ?? [] }

    /// An initialised module for the time of the body.
    func withModule<R>(_ body: (Module) throws -> R) throws -> R {
        for (name, value) in environment { setenv(name, value, 1) }
        let loaded = try Module(module, initializationString: initializationString)
        // Some modules crash in their exit handlers if it is left out; what it returns changes nothing any more.
        defer { try? loaded.finalize() }
        return try body(loaded)
    }

    func token(_ module: Module) throws -> TokenInfo {
        guard let uri else { throw ToolError.configuration("no token is named: give --token URI such as pkcs11:token=custody") }
        return try module.token(matching: uri)
    }

    /// A session with the user logged in, by exactly one attempt at the PIN.
    ///
    /// - Parameter known: The PIN, if it was read before.
    func withUserSession<R>(
        readWrite: Bool, pin known: SecretBytes? = nil, _ body: (Module, TokenInfo, borrowing Session, SecretBytes) throws -> R
    ) throws -> R {
        var known = known
        var attempts = 1
        var isSoftHSM = false
        while true {
            do {
                return try withModule { module in
                    let token = try token(module)
                    isSoftHSM = token.manufacturer.hasPrefix("SoftHSM")
                    try Self.checkUserPIN(token)
                    let pin = try known ?? pin.read()
                    known = pin
                    let session = try module.openSession(token.slot, readWrite: readWrite || onlyReadWrite)
                    try Self.logIn(session, pin)
                    return try body(module, token, session, pin)
                }
            } catch let error as PKCS11Error where Self.mayBeBeingWritten(error, isSoftHSM: isSoftHSM) && attempts < 5 {
                attempts += 1
                usleep(30_000)
            }
        }
    }

    /// SoftHSM writes its token's file anew at every login, and shows no token, one without a user PIN, or one that fails, to
    /// who starts at that moment: a kill switch must not fail for that. No PIN was tried then; another token that fails may have
    /// counted a try, so there it is not repeated.
    private static func mayBeBeingWritten(_ error: PKCS11Error, isSoftHSM: Bool) -> Bool {
        switch (error.function, error.returnValue) {
        case (.getTokenInfo?, _), (.login?, .userPINNotInitialized?): true
        case (.login?, .generalError?): isSoftHSM
        default: error.code == .tokenNotFound
        }
    }

    static func logIn(_ session: borrowing Session, _ pin: SecretBytes) throws(PKCS11Error) {
        do throws(PKCS11Error) {
            try session.login(.user, pin: pin)
        } catch where error.returnValue == .userAlreadyLoggedIn {
            // Another session of this process did it.
        }
    }

    /// No attempt at a PIN that is locked, nor at the last one before it locks.
    static func checkUserPIN(_ token: TokenInfo) throws(ToolError) {
        if token.isUserPINLocked {
            throw ToolError(
                "pin-locked",
                "the user PIN of token '\(token.label)' is locked, so no attempt was made; the security officer sets a new one with `custodyctl token set-pin --so-pin-file FILE --new-pin-file FILE`",
                exit: ToolExit.denied)
        }
        if token.isUserPINFinalTry {
            throw ToolError(
                "pin-final-try",
                "token '\(token.label)' has one try left for its user PIN, so no attempt was made; log in once with the vendor's own tool and the right PIN, or let the security officer set a new one with `custodyctl token set-pin --so-pin-file FILE --new-pin-file FILE`",
                exit: ToolExit.denied)
        }
    }

    /// The same for the security officer, whose PIN nobody can unlock.
    static func checkSecurityOfficerPIN(_ token: TokenInfo) throws(ToolError) {
        // Without a token there is no PIN yet, whatever the flags say: SoftHSM sets them all.
        guard token.isInitialized else { return }
        if token.isSOPINLocked {
            throw ToolError(
                "pin-locked",
                "the security officer's PIN of token '\(token.label)' is locked, so no attempt was made; the vendor's manual says how to reset the token",
                exit: ToolExit.denied)
        }
        if token.isSOPINFinalTry {
            throw ToolError(
                "pin-final-try",
                "token '\(token.label)' has one try left for the security officer's PIN, so no attempt was made; use the vendor's own tool with the right PIN",
                exit: ToolExit.denied)
        }
    }

    /// What the token says about the lengths that a PIN may have, before anything is changed.
    static func checkLength(_ pin: SecretBytes, _ what: String, _ token: TokenInfo) throws(ToolError) {
        let range = (token.minimumPINLength, token.maximumPINLength)
        guard range.1 == 0 || (pin.count >= range.0 && pin.count <= range.1) else {
            throw ToolError(
                "pin-refused", "the \(what) has \(pin.count) bytes, this token takes \(range.0) to \(range.1); nothing was changed",
                exit: ToolExit.denied)
        }
    }
}
