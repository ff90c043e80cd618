import ArgumentParser
import CustodyClient
import ToolSupport

/// Where custodyd is.
struct CustodyOptions: ParsableArguments {
    @Option(help: ArgumentHelp(
        "custodyd's Unix socket (default: $CUSTODY_SOCKET, else /run/custody/custody.sock).", valueName: "path"))
    var socket: String?

    @Option(name: .customLong("deadline-ms"), help: ArgumentHelp("How long to wait for custodyd.", valueName: "ms"))
    var deadline = 5_000

    func validate() throws {
        guard (1...600_000).contains(deadline) else { throw ValidationError("--deadline-ms must be from 1 to 600000") }
    }

    /// Makes a client, lets it be worked with, and closes it.
    func withClient<R>(_ body: (CustodyClient) async throws -> R) async throws -> R {
        var configuration = CustodyClient.Configuration(deadline: .milliseconds(deadline))
        if let path = socket ?? Environment.value("CUSTODY_SOCKET") { configuration.socket = path }
        return try await lending(CustodyClient(configuration), closing: { await $0.shutdown() }, to: body)
    }
}
