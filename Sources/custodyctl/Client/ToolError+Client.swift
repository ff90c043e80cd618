import CustodyClient
import CustodyProtocol
import ToolSupport

extension ToolError {
    init(_ error: CustodyClientError) {
        let (code, exitCode): (String, Int32) =
            switch error.code {
            case .server(let code):
                switch code {
                case .denied: (code.description, ToolExit.denied)
                case .tokenLocked: (code.description, ToolExit.denied)
                case .overloaded, .tokenUnavailable, .shuttingDown, .auditUnavailable, .deadlineExceeded:
                    (code.description, ToolExit.unavailable)
                default: (code.description, ToolExit.failed)
                }
            case .cannotConnect: ("cannot-connect", ToolExit.unavailable)
            case .connectionLost: ("connection-lost", ToolExit.unavailable)
            case .deadlineExceeded: ("deadline-exceeded", ToolExit.unavailable)
            case .cancelled: ("cancelled", ToolExit.failed)
            case .protocolViolation: ("protocol-violation", ToolExit.failed)
            case .requestTooLarge: ("payload-too-large", ToolExit.failed)
            case .shutDown: ("shut-down", ToolExit.failed)
            }
        var message = error.message
        // That is all that the daemon says of a denial; it says more of a connection that it refuses.
        if error.code == .server(.denied), message == ErrorCode.denied.description {
            message = "denied: no grant of yours in the daemon's configuration covers this; the audit log says more"
        }
        self.init(code, message, exit: exitCode)
    }
}
