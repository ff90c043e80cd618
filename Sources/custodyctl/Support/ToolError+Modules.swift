import Custody
import CustodyServer
import PKCS11
import ToolSupport

extension ToolError {
    /// Any error that the modules below throw.
    init(_ error: any Error) {
        switch error {
        case let error as ToolError: self = error
        case let error as CustodyError: self.init(error)
        case let error as PKCS11Error: self.init(error)
        case let error as ConfigurationError:
            let problems = error.problems.map(\.description)
            self = .configuration(problems.first ?? "the configuration is wrong")
            others = Array(problems.dropFirst())
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
