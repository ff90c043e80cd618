import ArgumentParser
import CustodyServer
import CZeroingHeap
import Logging
import ServiceLifecycle
import ToolSupport
import UnixSignals

@main
struct Custodyd: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "custodyd",
        abstract: "Holds the root key's HSM sessions and wraps and unwraps over a Unix socket.",
        discussion: """
            Example: custodyd --config /etc/custody/custody.toml

            SIGTERM finishes what is under way and leaves. SIGHUP reads the configuration anew, as `custodyctl reload` does:
            all of it takes effect or, if anything is wrong with it, nothing.
            Exit codes: 0 stopped as asked, 1 can't start, 64 usage, 78 wrong configuration.
            """,
        version: CustodyRelease.version)

    @Option(name: .long, help: "The configuration file.")
    var config = Configuration.defaultPath

    @Flag(name: .long, help: "Check the configuration file and leave.")
    var checkConfig = false

    static func main() async {
        await ToolMain.run(Custodyd.self) { ToolError("failed", "\($0)") }
    }

    func run() async throws {
        let configuration: Configuration
        do throws(ConfigurationError) {
            configuration = try Configuration(contentsOf: config)
        } catch {
            for problem in error.problems { Output.complain("\(problem)") }
            throw ExitCode(ToolExit.configuration)
        }
        if checkConfig { return Output.say("\(config) is in order") }
        let journal = JournalLogHandler.isWanted() ? JournalLogHandler(identifier: "custodyd") : nil
        var log = Logger(label: "custodyd") { label in
            journal ?? EscapingLogHandler(StreamLogHandler.standardError(label: label)) as any LogHandler
        }
        log.logLevel = configuration.logLevel
        let services = ServiceGroup(
            configuration: .init(
                services: [.init(service: Daemon(configuration, log: log))],
                gracefulShutdownSignals: [.sigterm, .sigint], logger: log))
        do {
            try await services.run()
        } catch {
            log.critical("custodyd can't go on", metadata: ["cause": "\(error)"])
            throw ExitCode(ToolExit.failed)
        }
    }
}
