import ArgumentParser
import Glibc
import MasterKey
import TenantStorage
import ToolSupport

/// What every command takes: where the tenants are, and the form of the answer.
struct CommonOptions: ParsableArguments {
    @Option(help: ArgumentHelp(
        "The tenants' database: sqlite:PATH or postgresql://... (default: $CUSTODY_MEK_DATABASE).", valueName: "address"))
    var database: String?

    @Flag(help: "Print one JSON document, also for an error.")
    var json = false

    /// Opens the database, lets it be worked with, and closes it.
    func withDatabase<R>(_ body: (any TenantDatabase) async throws -> R) async throws -> R {
        guard let address = database ?? Environment.value("CUSTODY_MEK_DATABASE") else {
            throw ToolError.configuration(
                "no database is named: give --database or CUSTODY_MEK_DATABASE, such as sqlite:tenants.db or postgresql://host/name")
        }
        return try await lending(TenantDatabases.open(address), closing: { await $0.close() }, to: body)
    }
}

/// The tenant that a command is about.
struct TenantArgument: ParsableArguments {
    @Argument(help: ArgumentHelp("The tenant's name.", valueName: "tenant"))
    var name: String

    func tenant() throws(MasterKeyError) -> TenantName { try TenantName(name) }
}

enum Environment {
    /// nil also for an empty one.
    static func value(_ name: String) -> String? {
        guard let text = getenv(name).map({ String(cString: $0) }), !text.isEmpty else { return nil }
        return text
    }
}
