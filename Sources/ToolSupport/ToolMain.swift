import ArgumentParser
import Glibc
import SecureMemory

/// How every tool begins and ends.
package enum ToolMain {
    /// Parses the command line, runs the command, and ends the process with the error's code if it failed.
    ///
    /// - Parameter translate: Any error that the tool's modules throw.
    package static func run(_ root: any ParsableCommand.Type, translate: @Sendable (any Error) -> ToolError) async {
        // A module's link to its HSM, or a reader that went away, must not end the process before its work is whole.
        signal(SIGPIPE, SIG_IGN)
        let name = root.configuration.commandName ?? "custody"
        if let failure = ProcessHardening.forbidDumps() {
            Output.complain("\(name): core dumps can't be forbidden: \(String(cString: strerror(failure)))")
        }
        do {
            var command = try root.parseAsRoot()
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
        let isUsage = root.exitCode(for: error) == .validationFailure
        let wantsJSON = CommandLine.arguments.contains("--json")
        if isUsage, !wantsJSON {
            // The parser's text with the usage, under the name that all our errors have.
            Output.complain("\(name): " + root.fullMessage(for: error).trimmingPrefix("Error: "))
            root.exit(withError: ExitCode(ToolExit.usage))
        }
        let failure = isUsage ? ToolError.usage(root.message(for: error)) : translate(error)
        if wantsJSON { try? Output.json(Output.ErrorDocument(failure)) }
        Output.complain("\(name): \(Table.printable(failure.message))")
        if let state = failure.state { Output.complain("  state: \(Table.printable(state))") }
        if let advice = failure.advice { Output.complain("  next: \(Table.printable(advice))") }
        root.exit(withError: ExitCode(failure.exitCode))
    }
}
