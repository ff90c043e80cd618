import ArgumentParser
import CustodyServer
import CZeroingHeap
import Foundation
import Logging
import ServiceLifecycle
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

    func run() async throws {
        let configuration: Configuration
        do {
            configuration = try Configuration(contentsOf: config)
        } catch {
            FileHandle.standardError.write(Data("\(error)\n".utf8))
            throw ExitCode(78)
        }
        if checkConfig {
            print("\(config) is in order")
            return
        }
        let journal = JournalLogHandler.isWanted() ? JournalLogHandler(identifier: "custodyd") : nil
        var log = Logger(label: "custodyd") { label in journal ?? StreamLogHandler.standardError(label: label) as any LogHandler }
        log.logLevel = configuration.logLevel
        let services = ServiceGroup(
            configuration: .init(
                services: [.init(service: Daemon(configuration, log: log))],
                gracefulShutdownSignals: [.sigterm, .sigint], logger: log))
        do {
            try await services.run()
        } catch {
            log.critical("custodyd can't go on", metadata: ["cause": "\(error)"])
            throw ExitCode(1)
        }
    }
}
