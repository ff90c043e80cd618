import MasterKey
import ToolSupport

extension ToolError {
    /// Any error that the modules below throw.
    init(_ error: any Error) {
        switch error {
        case let error as ToolError: self = error
        case let error as MasterKeyError: self.init(error)
        default: self.init("internal-error", "\(error)")
        }
    }

    private init(_ error: MasterKeyError) {
        let exitCode =
            switch error.code {
            case .invalidTenant, .choiceChanged, .choiceMissing: ToolExit.usage
            case .databaseUnavailable, .kmsUnavailable, .kmsThrottled, .kmsAnswerLost, .daemonUnavailable, .tokenUnavailable:
                ToolExit.unavailable
            case .operationUnderWay, .databaseBusy: ToolExit.busy
            case .databaseDenied, .kmsDenied, .rootKeyDenied, .tokenLocked: ToolExit.denied
            case .databaseAddress, .schemaMissing, .schemaUnknown, .kmsConfiguration, .kmsCredentials, .pinsUnusable: ToolExit.configuration
            default: ToolExit.failed
            }
        self.init(error.code.rawValue, error.message, exit: exitCode)
        state = error.state
        advice = error.advice
    }
}
