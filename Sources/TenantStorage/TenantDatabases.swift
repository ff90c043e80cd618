import Foundation
import MasterKey
import PostgreSQL

/// The tenant databases that there are: SQLite and PostgreSQL.
public enum TenantDatabases {
    /// Names a database; nothing is opened or connected to before it is used.
    ///
    /// - Parameters:
    ///   - address: `sqlite:PATH`, `sqlite:///PATH`, or a connection URI of PostgreSQL's (`postgresql://...`,
    ///     `postgres://...`) with any parameter that libpq knows, except passwords.
    ///   - environment: Looked at for `PGPASSWORD`, which is refused. Everything else libpq takes from the process'.
    /// - Throws: ``MasterKeyError`` with `database-address`.
    public static func open(
        _ address: String, environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws(MasterKeyError) -> any TenantDatabase {
        try open(address, environment: environment, patience: .seconds(5))
    }

    /// - Parameter patience: How long to wait for what somebody else has locked.
    static func open(
        _ address: String, environment: [String: String] = [:], patience: Duration
    ) throws(MasterKeyError) -> SQLTenantDatabase {
        let name = DatabaseAddress.name(address)
        switch try DatabaseAddress(address, environment: environment) {
        case .sqlite(let path):
            // Wherever the process stands, and however it spells the path.
            let identity = "sqlite:" + DatabaseFile(path: path).canonicalPath
            return SQLTenantDatabase(name: name, identity: identity, driver: SQLiteDriver(path: path, patience: patience))
        case .postgreSQL(let settings):
            return SQLTenantDatabase(name: name, identity: identity(settings), driver: PostgreSQLDriver(settings, patience: patience))
        }
    }

    /// Whoever connects, and how: it is the same database.
    private static func identity(_ settings: ConnectionSettings) -> String {
        let parts = ["host", "hostaddr", "port", "dbname", "service"].compactMap { keyword in
            settings.values[keyword].map { "\(keyword)=\($0)" }
        }
        return "postgresql:" + parts.joined(separator: " ")
    }
}
