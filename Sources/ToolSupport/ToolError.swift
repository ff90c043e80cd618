/// Why a command failed: what is printed, and with which code the process ends.
package struct ToolError: Error {
    /// A stable name for programs that read `--json`.
    package var code: String
    /// What happened, and mostly what to do next.
    package var message: String
    /// More of the same kind, a line each, such as the other mistakes in a file.
    package var others: [String] = []
    /// In which state things were left, and what to do next, where the message does not say so.
    package var state: String?
    package var advice: String?
    package var exitCode: Int32

    package init(_ code: String, _ message: String, exit exitCode: Int32 = ToolExit.failed) {
        self.code = code
        self.message = message
        self.exitCode = exitCode
    }

    package static func usage(_ message: String) -> ToolError { ToolError("usage", message, exit: ToolExit.usage) }

    package static func configuration(_ message: String) -> ToolError {
        ToolError("configuration-error", message, exit: ToolExit.configuration)
    }
}
