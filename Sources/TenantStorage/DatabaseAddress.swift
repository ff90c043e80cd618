import MasterKey
import PostgreSQL

/// Where a tenant database is, as an operator writes it.
enum DatabaseAddress: Sendable, Hashable {
    case sqlite(path: String)
    case postgreSQL(ConnectionSettings)

    static let forms = "it is sqlite:PATH or postgresql://[USER@][HOST][:PORT]/DATABASE[?PARAMETER=VALUE&...]"

    /// - Throws: ``MasterKeyError`` with `database-address`. It never quotes the address: there may be a password in it.
    init(_ text: String, environment: [String: String]) throws(MasterKeyError) {
        switch text.prefix(while: { $0 != ":" }).lowercased() {
        case "sqlite" where text.contains(":"):
            self = .sqlite(path: try Self.path(text.drop { $0 != ":" }.dropFirst()))
        case "postgresql" where text.contains("://"), "postgres" where text.contains("://"):
            self = .postgreSQL(try Self.settings(text, environment))
        default:
            throw MasterKeyError(.databaseAddress, "no such kind of tenant database", advice: Self.forms)
        }
    }

    /// The address for messages: without its parameters, which name files and options that are nobody's business.
    static func name(_ text: String) -> String {
        text.hasPrefix("sqlite:") ? text : String(text.prefix { $0 != "?" })
    }

    private static func path(_ rest: Substring) throws(MasterKeyError) -> String {
        // As a URI it has an empty host and an absolute path.
        let path = rest.hasPrefix("//") ? rest.dropFirst(2) : rest
        let hasNoHost = path.first == "/" || path.startIndex == rest.startIndex
        guard !path.isEmpty, hasNoHost, !path.utf8.contains(0), path.last != "/" else {
            throw MasterKeyError(.databaseAddress, "the address has no path of a file", advice: Self.forms)
        }
        return String(path)
    }

    private static func settings(
        _ text: String, _ environment: [String: String]
    ) throws(MasterKeyError) -> ConnectionSettings {
        let settings: ConnectionSettings
        do throws(PostgreSQLError) {
            settings = try ConnectionSettings(parsing: text)
        } catch {
            throw MasterKeyError(.databaseAddress, "the address can't be read", advice: Self.forms)
        }
        let instead = "put it into ~/.pgpass, a file that PGPASSFILE names, or a service file, readable by its owner only"
        guard settings.values["password"] == nil, settings.values["sslpassword"] == nil else {
            throw MasterKeyError(
                .databaseAddress, "there is a password in the address, where other processes can read it", advice: instead)
        }
        guard environment["PGPASSWORD", default: ""].isEmpty else {
            throw MasterKeyError(
                .databaseAddress, "there is a password in PGPASSWORD; an environment is read by others too easily",
                advice: "unset it and " + instead)
        }
        return settings
    }
}
