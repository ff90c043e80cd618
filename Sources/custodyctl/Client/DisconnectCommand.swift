import ArgumentParser
import CustodyClient
import CustodyProtocol
import CustodyServer
import ToolSupport

/// `disconnect`: cuts a user's connections.
struct DisconnectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "disconnect", abstract: "End a user's connections to the daemon at once.",
        discussion: """
            For who must not go on: the connections of the user and of the user's subordinate uids end, and what they have \
            asked for is not answered. Whoever may still connect can do so again: take the grant away first, and end the \
            user's processes, which keep the groups that they were started with. The connection of this command stays. Needs \
            a grant of the operation `disconnect`.

            Example: custodyctl disconnect --user billing
            """)

    private struct Document: Encodable {
        let uid: UInt32
        let connections: Int
    }

    @Option(help: ArgumentHelp("Whose connections: a user's name or number.", valueName: "user"))
    var user: String

    @OptionGroup var client: ClientOptions
    @OptionGroup var common: CommonOptions

    func run() async throws {
        guard let uid = SystemAccounts.uid(ofUser: user) else {
            throw ValidationError("there is no user '\(user)' on this machine; give a user's name or a number")
        }
        let count = try await client.withClient(common) { client throws(CustodyClientError) in try await client.disconnect(uid: uid) }
        if common.json { return try Output.json(Document(uid: uid, connections: count)) }
        Output.say("\(count) \(count == 1 ? "connection" : "connections") of \(user) ended.")
    }
}
