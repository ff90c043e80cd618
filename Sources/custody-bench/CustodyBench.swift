import ArgumentParser
import CustodyServer
import Foundation
import Glibc
import ToolSupport

@main
struct CustodyBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "custody-bench",
        abstract: "Measures a running custodyd against direct PKCS#11 calls, interleaved in one run.",
        discussion: """
            Example: custody-bench --config /etc/custody/custody.toml --key root --pid $(pidof custodyd)

            Each round runs every scenario once, so that the machine's moods meet all of them alike. Compare figures of one
            run only.
            """,
        subcommands: [Measure.self, SmallestServer.self], defaultSubcommand: Measure.self)

    static func main() async { await ToolMain.run(CustodyBench.self) { ToolError("failed", "\($0)") } }
}

/// The measurement itself.
struct Measure: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "measure", abstract: "Run every scenario, and print the table.")

    @Option(help: "The configuration of the daemon: its socket, and the token for the direct calls.")
    var config = Configuration.defaultPath

    @Option(help: "The root key to wrap under.")
    var key = "root"

    @Option(help: "The daemon's process, for its CPU time.")
    var pid: Int32

    @Option(help: "How often every scenario runs.")
    var rounds = 5

    @Option(help: "How long a scenario runs in each round, in milliseconds.")
    var milliseconds = 1_000

    @Option(help: "Only the scenarios whose name and callers, such as 'custodyd, one per frame 64', contain this.")
    var only = ""

    @Option(name: .customLong("other"), help: ArgumentHelp(
        "Another daemon to be measured, such as one with another durability of its audit log; may be repeated.",
        valueName: "name=socket=pid"))
    var others: [String] = []

    @Option(help: "The payload's size in bytes.")
    var size = 184

    func run() throws {
        let configuration = try Configuration(contentsOf: config)
        for (name, value) in configuration.environment { setenv(name, value, 1) }
        let direct = try DirectCalls(configuration.token, key: key, size: size)
        defer { direct.close() }
        let callers = [1, 8, 64]
        let socket = configuration.server.socket
        let floor = try Floor(config: config, key: key, size: size)
        defer { floor.stop() }
        let all =
            callers.map { Scenario("direct PKCS#11, in-process", callers: $0, batch: 1) { direct.caller() } }
            + callers.map { Scenario("smallest blocking server", callers: $0, batch: 1, server: floor.pid) { try FrameCaller(floor.socket, key: key, size: size, batch: 1) } }
            + callers.map { Scenario("custodyd, one per frame", callers: $0, batch: 1) { try FrameCaller(socket, key: key, size: size, batch: 1) } }
            + [1, 8].map { Scenario("custodyd, batches of 64", callers: $0, batch: 64) { try FrameCaller(socket, key: key, size: size, batch: 64) } }
            + callers.map { Scenario("CustodyClient, 2 connections", callers: $0, batch: 1, client: socket) }
            + (try others.flatMap(otherDaemon))
        let scenarios = all.filter { only.isEmpty || "\($0.name) \($0.callers)".contains(only) }
        for round in 1...max(1, rounds) {
            Output.complain("round \(round) of \(rounds)")
            for scenario in scenarios {
                try scenario.run(milliseconds: milliseconds, key: key, size: size, daemon: pid)
            }
        }
        Report(scenarios: scenarios, size: size, rounds: rounds, milliseconds: milliseconds).write()
    }
}

extension Measure {
    private func otherDaemon(_ text: String) throws -> [Scenario] {
        let parts = text.split(separator: "=").map(String.init)
        guard parts.count == 3, let pid = Int32(parts[2]) else { throw ValidationError("--other takes name=socket=pid, not '\(text)'") }
        func scenario(_ callers: Int, batch: Int) -> Scenario {
            Scenario("custodyd \(parts[0]), \(batch == 1 ? "one per frame" : "batches of \(batch)")", callers: callers, batch: batch, server: pid) {
                try FrameCaller(parts[1], key: key, size: size, batch: batch)
            }
        }
        return [1, 8, 64].map { scenario($0, batch: 1) } + [8].map { scenario($0, batch: 64) }
    }
}

/// The smallest server, in a process of its own for the time of the run.
private final class Floor: Sendable {
    let socket: String
    let pid: Int32

    init(config: String, key: String, size: Int) throws {
        socket = NSTemporaryDirectory() + "custody-bench-\(getpid()).sock"
        unlink(socket)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/proc/self/exe")
        process.arguments = ["smallest-server", "--config", config, "--key", key, "--size", "\(size)", "--socket", socket]
        try process.run()
        pid = process.processIdentifier
        for _ in 0..<500 where access(socket, F_OK) != 0 { usleep(10_000) }
    }

    func stop() {
        kill(pid, SIGTERM)
        unlink(socket)
    }
}
