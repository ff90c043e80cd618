import ArgumentParser
import CustodyClient
import ToolSupport

/// What every command that speaks to the daemon takes besides ``CommonOptions``.
struct ClientOptions: ParsableArguments {
    @Option(name: .customLong("deadline-ms"), help: ArgumentHelp("How long to wait for the daemon.", valueName: "ms"))
    var deadline = 5_000

    @Option(name: .customLong("on-behalf-of"), help: ArgumentHelp(
        "For whom you act, for the audit log; may be repeated.", valueName: "key=value"))
    var onBehalfOf: [String] = []

    func validate() throws {
        guard (1...600_000).contains(deadline) else { throw ValidationError("--deadline-ms must be from 1 to 600000") }
        _ = try KeyValue.dictionary(onBehalfOf, flag: "--on-behalf-of")
    }

    /// Makes a client, lets it work, and closes it.
    func withClient<R>(
        _ common: CommonOptions, _ body: (CustodyClient) async throws(CustodyClientError) -> R
    ) async throws -> R {
        try await withLongLivedClient(common) { client in
            do throws(CustodyClientError) { return try await body(client) } catch { throw ToolError(error) }
        }
    }

    /// The same for what deals with a client's errors itself.
    func withLongLivedClient<R>(_ common: CommonOptions, _ body: (CustodyClient) async throws -> R) async throws -> R {
        let client = CustodyClient(.init(
            socket: try common.socketPath(), deadline: .milliseconds(deadline),
            onBehalfOf: try KeyValue.dictionary(onBehalfOf, flag: "--on-behalf-of")))
        return try await lending(client, closing: { await $0.shutdown() }, to: body)
    }
}

/// The encryption context on the command line.
struct ContextOptions: ParsableArguments {
    @Option(help: ArgumentHelp(
        "What the blob is bound to, such as tenant=acme; may be repeated. The same is needed to open it.", valueName: "key=value"))
    var context: [String] = []

    func validate() throws { _ = try entries() }

    func entries() throws -> [String: String] { try KeyValue.dictionary(context, flag: "--context") }
}
