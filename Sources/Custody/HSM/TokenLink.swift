import Foundation
import Logging
import PKCS11
import SecureMemory
import Synchronization

/// How to reach the token.
public struct TokenSettings: Sendable, Hashable {
    /// The module's path or p11-kit name.
    public var module: String
    /// What C_Initialize gets in `pReserved`; only NSS needs it.
    public var initializationString: String?
    public var uri: TokenURI
    public var pin: PINSource
    /// Where attempts at PINs are recorded; nil where nothing is.
    public var pinAttempts: PINAttempts?
    /// How many worker threads, each with a session. SoftHSM is fastest with one.
    public var sessions: Int
    /// Some HSMs refuse read-only sessions.
    public var readWriteSessions: Bool
    /// After how long a call of the module is taken to hang; looks at the keys get four times, logins ten times as long.
    public var hungAfter: Duration
    /// How many threads may hang in a call and be replaced.
    public var hungLimit: Int
    /// The token is tried with a canary when it has done nothing for so long.
    public var canaryInterval: Duration

    public init(
        module: String, initializationString: String? = nil, uri: TokenURI, pin: PINSource, pinAttempts: PINAttempts? = nil,
        sessions: Int = 1, readWriteSessions: Bool = false, hungAfter: Duration = .seconds(3), hungLimit: Int = 8,
        canaryInterval: Duration = .seconds(10)
    ) {
        self.module = module
        self.initializationString = initializationString
        self.uri = uri
        self.pin = pin
        self.pinAttempts = pinAttempts
        self.sessions = sessions
        self.readWriteSessions = readWriteSessions
        self.hungAfter = hungAfter
        self.hungLimit = hungLimit
        self.canaryInterval = canaryInterval
    }
}

/// One life of the module: initialised, the token found, the user logged in by a session that stays open, since login is
/// application-wide and ends with the last session.
final class TokenLink: Sendable {
    let module: Module
    let token: TokenInfo
    /// Keeps the login, and looks at the keys; used by the keeper's thread alone.
    let loginSession: Session
    /// Sessions whose threads have ended and could not close them: they go with the link.
    private let orphans = Mutex<[any Sendable]>([])

    private init(module: Module, token: TokenInfo, loginSession: consuming Session) {
        self.module = module
        self.token = token
        self.loginSession = loginSession
    }

    /// Takes over who owns a session, since to close it now could meet C_Finalize on the keeper's thread.
    func adopt(_ owner: any Sendable) { orphans.withLock { $0.append(owner) } }

    /// Asks whether the token is in its slot. Some modules show one that has vanished as one without objects.
    ///
    /// Asked three times: SoftHSM writes its token's file anew at every login of anybody, and shows another token, or none, to
    /// who reads it at that moment.
    func checkPresence() throws(PKCS11Error) {
        var failure = PKCS11Error(.getTokenInfo, .tokenNotRecognized)
        for attempt in 1...3 {
            do throws(PKCS11Error) {
                let present = try module.tokenInfo(token.slot)
                if present.uri == token.uri { return }
                failure = PKCS11Error(.getTokenInfo, .tokenNotRecognized)
            } catch {
                failure = error
            }
            if attempt < 3 { Thread.sleep(forTimeInterval: 0.02) }
        }
        throw failure
    }

    /// Loads and initialises the module. One that is initialised already will do: an earlier C_Finalize failed, or C_Initialize did and said the contrary.
    static func initialize(_ settings: TokenSettings, observer: CallObserver?) throws(ConnectFailure) -> Module {
        do {
            return try Module(
                settings.module, initializationString: settings.initializationString, acceptingInitialized: true, observer: observer)
        } catch {
            throw ConnectFailure(
                error: CustodyError(.tokenUnavailable, "the HSM can't be reached", cause: "\(error)", retryAfterMilliseconds: 1_000),
                isLight: true)
        }
    }

    /// Finds the token and logs in, with one attempt at the PIN and none if that one would be the token's last, or if the PIN was
    /// refused before.
    ///
    /// - Parameter onAttempt: Told of the attempt before it is made, and nil after it.
    /// - Throws: ``ConnectFailure`` with `tokenLocked` if an operator has to act, else with `tokenUnavailable`.
    static func logIn(
        _ module: Module, _ settings: TokenSettings, _ health: HealthRecord, log: Logger, onAttempt: (PINAttempt?) -> Void
    ) throws(ConnectFailure) -> TokenLink {
        let token: TokenInfo
        do {
            token = try module.token(matching: settings.uri)
        } catch {
            throw ConnectFailure(error: unavailable(error), isLight: true)
        }
        guard !token.isUserPINLocked else {
            throw locked(
                "the user PIN of token '\(token.label)' is locked; the security officer sets a new one with `custodyctl token set-pin --so-pin-file`")
        }
        guard !token.isUserPINFinalTry else {
            throw locked(
                "token '\(token.label)' has one try left for its user PIN, so none is made; log in once by hand with the right PIN")
        }
        // Somebody is initialising it just now, or has not finished: it will come.
        guard token.isUserPINInitialized else {
            throw ConnectFailure(error: unavailable(PKCS11Error(.login, .userPINNotInitialized)), isLight: true)
        }
        let pin: SecretBytes
        do throws(CustodyError) {
            pin = try settings.pin.read()
        } catch {
            throw locked(error.message)
        }
        let session: Session
        do {
            session = try module.openSession(token.slot, readWrite: settings.readWriteSessions)
        } catch {
            throw ConnectFailure(error: unavailable(error), isLight: error.returnValue.map(Self.saysAbsent.contains) ?? false)
        }
        var attempt: PINAttempt?
        do throws(CustodyError) {
            attempt = try settings.pinAttempts?.begin(pin, on: token, within: .milliseconds(200))
        } catch {
            if error.code == .tokenLocked { throw locked(error.message, by: token) }
            throw ConnectFailure(error: error, isLight: true)
        }
        onAttempt(attempt)
        defer { onAttempt(nil) }
        func end(_ outcome: PINAttempt.Outcome) {
            do throws(CustodyError) { try attempt?.end(outcome) } catch {
                log.warning("what an attempt at the PIN came to can't be recorded; it counts as one that was not answered", metadata: ["cause": "\(error.message)"])
            }
        }
        health.noteLogin()
        do {
            try session.login(.user, pin: pin)
            end(.taken)
        } catch {
            end(PINAttempt.Outcome(error))
            switch Fault(error) {
            case _ where error.returnValue == .userAlreadyLoggedIn: break
            case .pin:
                throw ConnectFailure(
                    error: CustodyError(
                        .tokenLocked,
                        "the token refused the PIN; no further try is made, also after a restart, until another PIN is in the PIN file and "
                            + "`custodyctl reload` was run, or `custodyctl token retry-pin` if it was the right one all the same",
                        cause: "\(error)"),
                    refusedBy: token)
            default: throw ConnectFailure(error: unavailable(error))
            }
        }
        return TokenLink(module: module, token: token, loginSession: session)
    }

    /// What C_OpenSession returns for an empty slot.
    private static let saysAbsent: Set<ReturnValue> = [.tokenNotPresent, .tokenNotRecognized, .slotIDInvalid, .deviceRemoved]

    /// What is wrong with the PIN is for the operator: Status and the log show it, callers only learn that it is so.
    private static func locked(_ cause: String, by token: TokenInfo? = nil) -> ConnectFailure {
        ConnectFailure(
            error: CustodyError(
                .tokenLocked, "the token can't be logged in to; put right what the daemon's log says and run `custodyctl reload`",
                cause: cause),
            refusedBy: token)
    }

    static func unavailable(_ error: PKCS11Error) -> CustodyError {
        CustodyError(.tokenUnavailable, "the HSM can't be reached", cause: "\(error)", retryAfterMilliseconds: 100)
    }
}
