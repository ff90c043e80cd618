import PKCS11
import SecureMemory

/// How to reach the token.
public struct TokenSettings: Sendable, Hashable {
    /// The module's path or p11-kit name.
    public var module: String
    /// What C_Initialize gets in `pReserved`; only NSS needs it.
    public var initializationString: String?
    public var uri: TokenURI
    public var pin: PINSource
    /// How many worker threads, each with a session. SoftHSM is fastest with one.
    public var sessions: Int
    /// Some HSMs refuse read-only sessions.
    public var readWriteSessions: Bool

    public init(
        module: String, initializationString: String? = nil, uri: TokenURI, pin: PINSource, sessions: Int = 1,
        readWriteSessions: Bool = false
    ) {
        self.module = module
        self.initializationString = initializationString
        self.uri = uri
        self.pin = pin
        self.sessions = sessions
        self.readWriteSessions = readWriteSessions
    }
}

/// One life of the module: initialised, the token found, the user logged in by a session that stays open, since login is
/// application-wide and ends with the last session.
final class TokenLink: Sendable {
    let module: Module
    let token: TokenInfo
    /// Keeps the login, and looks at the keys; used by the keeper's thread alone.
    let loginSession: Session

    private init(module: Module, token: TokenInfo, loginSession: consuming Session) {
        self.module = module
        self.token = token
        self.loginSession = loginSession
    }

    /// Initialises the module and logs in, with one attempt at the PIN and none if that one would be the token's last.
    ///
    /// - Throws: ``CustodyError`` with `tokenLocked` if an operator has to act, else with `tokenUnavailable`.
    static func connect(_ settings: TokenSettings) throws(CustodyError) -> TokenLink {
        let module: Module
        do {
            module = try Module(settings.module, initializationString: settings.initializationString)
        } catch {
            throw CustodyError(.tokenUnavailable, "the HSM can't be reached", cause: "\(error)", retryAfterMilliseconds: 1_000)
        }
        do {
            return try logIn(module, settings)
        } catch {
            try? module.finalize()
            throw error
        }
    }

    private static func logIn(_ module: Module, _ settings: TokenSettings) throws(CustodyError) -> TokenLink {
        let token = try reaching { () throws(PKCS11Error) in try module.token(matching: settings.uri) }
        guard !token.isUserPINLocked else {
            throw locked(
                "the user PIN of token '\(token.label)' is locked; the security officer sets a new one with `custodyctl token set-pin --so-pin-file`")
        }
        guard !token.isUserPINFinalTry else {
            throw locked(
                "token '\(token.label)' has one try left for its user PIN, so none is made; log in once by hand with the right PIN")
        }
        // Somebody is initialising it just now, or has not finished: it will come.
        guard token.isUserPINInitialized else { throw unavailable(PKCS11Error(.login, .userPINNotInitialized)) }
        let pin: SecretBytes
        do throws(CustodyError) {
            pin = try settings.pin.read()
        } catch {
            throw locked(error.message)
        }
        let session = try open(module, token.slot, settings)
        do {
            try session.login(.user, pin: pin)
        } catch {
            switch Fault(error) {
            case _ where error.returnValue == .userAlreadyLoggedIn: break
            case .pin:
                throw CustodyError(.tokenLocked, "the token refused the PIN", cause: "\(error)")
            default: throw unavailable(error)
            }
        }
        return TokenLink(module: module, token: token, loginSession: session)
    }

    private static func open(_ module: Module, _ slot: SlotID, _ settings: TokenSettings) throws(CustodyError) -> Session {
        do {
            return try module.openSession(slot, readWrite: settings.readWriteSessions)
        } catch {
            throw unavailable(error)
        }
    }

    private static func reaching<R>(_ body: () throws(PKCS11Error) -> R) throws(CustodyError) -> R {
        do {
            return try body()
        } catch {
            throw unavailable(error)
        }
    }

    /// What is wrong with the PIN is for the operator: Status and the log show it, callers only learn that it is so.
    private static func locked(_ cause: String) -> CustodyError {
        CustodyError(.tokenLocked, "the token can't be logged in to", cause: cause)
    }

    static func unavailable(_ error: PKCS11Error) -> CustodyError {
        CustodyError(.tokenUnavailable, "the HSM can't be reached", cause: "\(error)", retryAfterMilliseconds: 100)
    }
}
