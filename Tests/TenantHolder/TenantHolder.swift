import Foundation
import MasterKey
import TenantStorage

/// A second process for the tests of the tenant databases. Prints one line, `ok` or the code of an error.
///
/// Usage: custody-tenant-holder ADDRESS hold TENANT   takes the lock, says `held` and keeps it until it is killed
///        custody-tenant-holder ADDRESS note TENANT   notes an opening
///        custody-tenant-holder ADDRESS migrate
@main
struct TenantHolder {
    static func main() async throws {
        let arguments = CommandLine.arguments
        let answer: String
        do {
            let database = try TenantDatabases.open(arguments.count > 1 ? arguments[1] : "")
            answer = try await perform(Array(arguments.dropFirst(2)), database)
            await database.close()
        } catch let error as MasterKeyError {
            answer = error.code.rawValue
        }
        say(answer)
    }

    private static func perform(_ arguments: [String], _ database: any TenantDatabase) async throws -> String {
        let tenant = arguments.count > 1 ? try TenantName(arguments[1]) : nil
        switch (arguments.first, tenant) {
        case ("hold", let tenant?):
            guard let lock = try await database.lock(tenant) else { return "taken" }
            say("held")
            try await Task.sleep(for: .seconds(600))
            await lock.release()
        case ("note", let tenant?): try await database.noteOpening(of: tenant, at: Date())
        case ("migrate", nil): _ = try await database.migrate()
        default: return "usage"
        }
        return "ok"
    }

    private static func say(_ text: String) { FileHandle.standardOutput.write(Data((text + "\n").utf8)) }
}
