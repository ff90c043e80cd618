import CPostgreSQL

/// How to reach a server: libpq's keywords and their values.
public struct ConnectionSettings: Sendable, Hashable {
    public private(set) var values: [String: String]

    /// Reads a connection URI or a keyword/value string, see "Connection Strings" in PostgreSQL's manual.
    ///
    /// - Throws: ``PostgreSQLError`` without libpq's text: it quotes the address, and there may be a password in it.
    public init(parsing text: String) throws(PostgreSQLError) {
        // libpq would read on to the first NUL only.
        guard !text.utf8.contains(0) else { throw PostgreSQLError(.parse, "libpq can't read it") }
        var message: UnsafeMutablePointer<CChar>?
        let options = PQconninfoParse(text, &message)
        defer { PQfreemem(message) }
        guard let options else { throw PostgreSQLError(.parse, "libpq can't read it") }
        values = Self.take(options)
    }

    /// Adds what neither the address, nor libpq's environment variables, nor a service file say.
    ///
    /// - Throws: ``PostgreSQLError``, if the service file can't be read, say.
    public mutating func add(defaults: [String: String]) throws(PostgreSQLError) {
        let known = values["service"] == nil ? try Self.environment() : try effective()
        for (keyword, value) in defaults where values[keyword] == nil && known[keyword, default: ""].isEmpty {
            values[keyword] = value
        }
    }

    public mutating func set(_ keyword: String, _ value: String) { values[keyword] = value }

    /// The hosts that are tried, as libpq finds them in the address, the service file and the environment: an address where
    /// one is given, else a name or the folder of a Unix socket. Empty for libpq's default, a socket of this machine.
    public func hosts() throws(PostgreSQLError) -> [String] {
        let known = values["service"] == nil ? try Self.environment() : try effective()
        func list(_ keyword: String) -> [String] {
            let own = values[keyword, default: ""]
            return (own.isEmpty ? known[keyword, default: ""] : own).split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        }
        let names = list("host"), addresses = list("hostaddr")
        return (0..<max(names.count, addresses.count)).map { index in
            if addresses.indices.contains(index), !addresses[index].isEmpty { return addresses[index] }
            return names.indices.contains(index) ? names[index] : ""
        }
    }

    /// What libpq takes from the environment, and from the service that is named there.
    private static func environment() throws(PostgreSQLError) -> [String: String] {
        guard let options = PQconndefaults() else { throw PostgreSQLError(.defaults, "libpq can't read its defaults") }
        return take(options)
    }

    /// What libpq makes of these settings. A service that the address names is read only when a connection is begun, so one
    /// is, and given up.
    private func effective() throws(PostgreSQLError) -> [String: String] {
        // Begun only to be read: nothing must be said on it in clear.
        var silent = self
        silent.set("sslmode", "verify-full")
        guard let connection = silent.start() else { throw PostgreSQLError(.connect, "out of memory") }
        defer { PQfinish(connection) }
        guard let options = PQconninfo(connection) else { throw PostgreSQLError(.connect, "out of memory") }
        return Self.take(options)
    }

    /// PQconnectStartParams.
    func start() -> OpaquePointer? {
        let pairs = values.sorted { $0.key < $1.key }
        return Self.withCStrings(pairs.map(\.key)) { keywords in
            Self.withCStrings(pairs.map(\.value)) { values in PQconnectStartParams(keywords, values, 0) }
        }
    }

    /// Lends a list of C strings that ends with NULL.
    private static func withCStrings<R>(_ texts: [String], _ body: ([UnsafePointer<CChar>?]) -> R) -> R {
        func lend(_ rest: ArraySlice<String>, _ pointers: [UnsafePointer<CChar>?]) -> R {
            guard let text = rest.first else { return body(pointers + [nil]) }
            return text.withCString { lend(rest.dropFirst(), pointers + [$0]) }
        }
        return lend(texts[...], [])
    }

    /// Copies libpq's list and frees it.
    private static func take(_ options: UnsafeMutablePointer<PQconninfoOption>) -> [String: String] {
        defer { PQconninfoFree(options) }
        var values: [String: String] = [:]
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { values[String(cString: keyword)] = String(cString: value) }
            option += 1
        }
        return values
    }
}
