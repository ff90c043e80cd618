import ArgumentParser
import CustodyClient
import CustodyProtocol
import ToolSupport

/// `reload`: has the daemon read its configuration anew.
struct ReloadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload", abstract: "Have the daemon read its configuration anew, all of it or nothing.",
        discussion: """
            Rules (grant, deny, limit) and [keys] take effect at once, for requests that come from then on; no connection is \
            dropped. If the file is wrong, names a key that is not on the token, or changes what needs a restart, nothing \
            changes and the reason is printed. Needs a grant of the operation `reload`; SIGHUP does the same without one.

            Example: custodyctl reload
            """)

    private struct Document: Encodable {
        let file: String
        let grants: UInt32
        let denials: UInt32
        let limits: UInt32
    }

    @OptionGroup var client: ClientOptions
    @OptionGroup var common: CommonOptions

    func run() async throws {
        let report = try await client.withClient(common) { client throws(CustodyClientError) in try await client.reload() }
        if common.json {
            return try Output.json(Document(file: report.file, grants: report.grants, denials: report.denials, limits: report.limits))
        }
        Output.say("\(report.file) is in force: \(report.grants) grants, \(report.denials) denials, \(report.limits) limits.")
    }
}
