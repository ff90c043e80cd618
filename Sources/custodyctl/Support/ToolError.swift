import Custody
import CustodyServer
import PKCS11

/// Why a command failed: what is printed, and with which code the process ends.
struct ToolError: Error {
    /// A stable name for programs that read `--json`.
    var code: String
    /// What happened and what to do next.
    var message: String
    var exitCode: Int32

    init(_ code: String, _ message: String, exit exitCode: Int32 = ToolExit.failed) {
        self.code = code
        self.message = message
        self.exitCode = exitCode
    }

    static func usage(_ message: String) -> ToolError { ToolError("usage", message, exit: ToolExit.usage) }

    static func configuration(_ message: String) -> ToolError {
        ToolError("configuration-error", message, exit: ToolExit.configuration)
    }

    /// Any error that the modules below throw.
    init(_ error: any Error) {
        switch error {
        case let error as ToolError: self = error
        case let error as CustodyError: self.init(error)
        case let error as PKCS11Error: self.init(error)
        case let error as ConfigurationError: self = .configuration(error.description)
        default: self.init("internal-error", "\(error)")
        }
    }

    private init(_ error: CustodyError) {
        let exitCode =
            switch error.code {
            case .tokenUnavailable, .shuttingDown, .overloaded: ToolExit.unavailable
            case .tokenLocked, .denied: ToolExit.denied
            default: ToolExit.failed
            }
        self.init(error.code.rawValue, error.cause.map { "\(error.message) (\($0))" } ?? error.message, exit: exitCode)
    }

    private init(_ error: PKCS11Error) {
        var message = error.message
        if error.function == .initialize, error.returnValue != .cryptokiAlreadyInitialized {
            message += "; the module could not start: check its own files, which for many modules a variable of `environment` under [token] in the configuration names (SOFTHSM2_CONF for SoftHSM)"
        }
        switch (error.code, error.returnValue) {
        case (.moduleNotLoaded, _): self.init("module-not-loaded", message, exit: ToolExit.unavailable)
        case (.invalidURI, _): self.init("invalid-uri", message, exit: ToolExit.usage)
        case (.tokenNotFound, _): self.init("token-not-found", message, exit: ToolExit.unavailable)
        case (.tokenAmbiguous, _): self.init("token-ambiguous", message, exit: ToolExit.unavailable)
        case (_, .pinIncorrect?), (_, .pinInvalid?), (_, .pinLengthRange?), (_, .pinExpired?), (_, .userPINNotInitialized?):
            self.init("pin-refused", message, exit: ToolExit.denied)
        case (_, .pinLocked?): self.init("pin-locked", message, exit: ToolExit.denied)
        case (_, .userNotLoggedIn?), (_, .userAnotherAlreadyLoggedIn?):
            self.init("denied", message, exit: ToolExit.denied)
        case (_, .attributeReadOnly?), (_, .templateInconsistent?), (_, .templateIncomplete?), (_, .sessionExists?):
            self.init("token-refused", message)
        default:
            self.init("token-unavailable", message, exit: ToolExit.unavailable)
        }
    }
}
