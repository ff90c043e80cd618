import ArgumentParser
import MasterKey
import ToolSupport

/// `migrate`: the tables.
struct MigrateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate", abstract: "Make the tables in the database, or bring them up to date.",
        discussion: """
            Example: custody-mek migrate --database sqlite:tenants.db      (a SQLite file that is not there is made)

            Rows that a release before schema 2 has written are not authenticated. They do not open before an operator has \
            vouched for them: custody-mek accept --all
            """)

    private struct Document: Encodable {
        let database: String
        let fromVersion: Int
        let toVersion: Int
    }

    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await common.withDatabase { database in
            let (from, to) = try await database.migrate()
            if common.json { return try Output.json(Document(database: database.name, fromVersion: from, toVersion: to)) }
            Output.say(from == to ? "\(database.name) is up to date (schema \(to))" : "\(database.name): schema \(from) is now \(to)")
            if from == 1 { Output.say("note: the rows that are there open again when you have vouched for them: custody-mek accept --all") }
        }
    }
}
