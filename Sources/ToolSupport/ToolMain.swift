import ArgumentParser
import Glibc
import SecureMemory

/// How every program of this package begins and ends.
package enum ToolMain {
    /// Refuses what is no text, parses the command line, runs the command, and ends the process with the error's code if it failed.
    ///
    /// - Parameter translate: Any error that the program's modules throw.
    package static func run(_ root: any ParsableCommand.Type, translate: @Sendable (any Error) -> ToolError) async {
        // A module's link to its HSM, or a reader that went away, must not end the process before its work is whole.
        signal(SIGPIPE, SIG_IGN)
        let name = root.configuration.commandName ?? "custody"
        if let failure = ProcessHardening.forbidDumps() {
            Output.complain("\(name): core dumps can't be forbidden: \(String(cString: strerror(failure)))")
        }
        let arguments: [String]
        do throws(ToolError) { arguments = try ProcessText.arguments() } catch { report(error, root, name) }
        do {
            var command = try root.parseAsRoot(arguments)
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            fail(error, root, name, translate)
        }
    }

    private static func fail(
        _ error: any Error, _ root: any ParsableCommand.Type, _ name: String, _ translate: @Sendable (any Error) -> ToolError
    ) -> Never {
        if error is ExitCode || error is CleanExit || root.exitCode(for: error) == .success { root.exit(withError: error) }
        guard root.exitCode(for: error) == .validationFailure else { report(translate(error), root, name) }
        let message = root.message(for: error)
        if wantsJSON { report(.usage(message), root, name) }
        // The parser's text with the usage, under the name that all our errors have. Arguments stand in its message alone.
        let whole = String(root.fullMessage(for: error).trimmingPrefix("Error: "))
        let usage = whole.hasPrefix(message) ? DisplayText(escaped: String(whole.dropFirst(message.count))) : ""
        Output.complain("\(name): \(message)\(layout: usage)")
        root.exit(withError: ExitCode(ToolExit.usage))
    }

    private static func report(_ failure: ToolError, _ root: any ParsableCommand.Type, _ name: String) -> Never {
        if wantsJSON { try? Output.json(Output.ErrorDocument(failure)) }
        Output.complain("\(name): \(failure.message)")
        for other in failure.others { Output.complain("\(name): \(other)") }
        if let state = failure.state { Output.complain("  state: \(state)") }
        if let advice = failure.advice { Output.complain("  next: \(advice)") }
        root.exit(withError: ExitCode(failure.exitCode))
    }

    private static var wantsJSON: Bool { ProcessText.hasArgument("--json") }
}
