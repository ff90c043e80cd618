import Custody
import Foundation
import Logging
import PKCS11

/// The configuration file of `custodyd`, from which `custodyctl` takes module, token, PIN and socket as well.
public struct Configuration: Sendable {
    public struct Server: Sendable {
        /// The path of the Unix socket.
        public var socket: String
        /// The socket's file mode; the kernel's word on the peer and the grants are the first fence, this is the second.
        public var socketMode: UInt32
        /// Connections at once, of all clients together.
        public var connections: Int
        /// Requests of one connection that are not answered yet.
        public var requestsInFlight: Int
        /// Used where a request names none.
        public var defaultDeadline: Duration
        public var longestDeadline: Duration
        /// Requests that wait for the HSM.
        public var queueLimit: Int
        /// How long a shutdown waits for requests that are under way.
        public var drain: Duration
    }

    public struct Keys: Sendable {
        /// Names of keys that are used although the proof of custody fails.
        public var exceptions: Set<String>
        public var lookInterval: Duration
    }

    public var server: Server
    public var token: TokenSettings
    /// Set in the process' environment before the module is loaded: vendors' modules find their own files that way.
    public var environment: [String: String]
    public var keys: Keys
    public var auditFile: String
    public var logLevel: Logger.Level
    public var grants: [Grant]

    /// Where `custodyctl` and `custodyd` look if nothing else is said.
    public static let defaultPath = "/etc/custody/custody.toml"
    public static let defaultSocket = "/run/custody/custody.sock"

    /// Reads and checks a file.
    ///
    /// - Throws: ``ConfigurationError`` with every problem, each with its line and what is expected.
    public init(contentsOf path: String) throws(ConfigurationError) {
        let text: String
        do {
            text = try String(contentsOfFile: path, encoding: .utf8)
        } catch {
            let reason = String(cString: strerror(errno))
            throw ConfigurationError(problems: [.init(file: path, line: nil, message: "can't be read: \(reason); name another with --config")])
        }
        try self.init(text, file: path)
    }

    /// - Parameters:
    ///   - text: The content of the file.
    ///   - file: Its path: relative paths in it start from its folder.
    public init(_ text: String, file: String) throws(ConfigurationError) {
        let document = try TOMLDocument(text, file: file)
        let problems = ProblemList(file: file, document: document)
        let root = TableReader(document.table, path: "", problems: problems)
        let folder = URL(fileURLWithPath: file).deletingLastPathComponent().path
        func absolute(_ path: String) -> String { path.hasPrefix("/") ? path : folder + "/" + path }

        let log = root.table("log")
        let level = log.string("level", expected: "a level such as \"info\"", default: "info") ?? "info"
        logLevel = Logger.Level(rawValue: level) ?? .info
        if Logger.Level(rawValue: level) == nil {
            log.problem("level", "'level' must be one of \(Logger.Level.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        log.finish()

        let audit = root.table("audit")
        auditFile = absolute(audit.string("file", expected: "the path of the audit log", default: "/var/log/custody/audit.jsonl") ?? "")
        audit.finish()

        let keysTable = root.table("keys")
        keys = Keys(
            exceptions: Set(keysTable.strings("use-without-proof", default: []) ?? []),
            lookInterval: .milliseconds(keysTable.int("look-interval-ms", in: 50...60_000, default: 500)))
        keysTable.finish()

        server = Self.server(root.table("server"), absolute)
        (token, environment) = Self.token(root.table("token"), absolute)
        grants = root.tables("grant").compactMap(Self.grant)
        root.finish()
        guard problems.problems.isEmpty else {
            throw ConfigurationError(problems: problems.problems.sorted { ($0.line ?? 0) < ($1.line ?? 0) })
        }
    }

    private static func server(_ table: TableReader, _ absolute: (String) -> String) -> Server {
        let modeText = table.string("socket-mode", expected: "an octal mode such as \"0660\"", default: "0660") ?? ""
        let mode = UInt32(modeText, radix: 8)
        if mode == nil || mode.map({ $0 > 0o777 }) == true {
            table.problem("socket-mode", "'socket-mode' must be an octal mode such as \"0660\"")
        }
        let socket = absolute(table.string("socket", expected: "the path of a Unix socket", default: defaultSocket) ?? "")
        if socket.utf8.count > 107 {
            table.problem("socket", "'socket' has \(socket.utf8.count) bytes; a Unix socket's path has at most 107")
        }
        let defaultDeadline = table.int("default-deadline-ms", in: 1...600_000, default: 5_000)
        let longestDeadline = table.int("longest-deadline-ms", in: 1...600_000, default: 60_000)
        if defaultDeadline > longestDeadline {
            table.problem("default-deadline-ms", "'default-deadline-ms' must not be above 'longest-deadline-ms', \(longestDeadline)")
        }
        defer { table.finish() }
        return Server(
            socket: socket,
            socketMode: mode ?? 0o660,
            connections: table.int("connections", in: 1...65_536, default: 1_024),
            requestsInFlight: table.int("requests-in-flight", in: 1...65_536, default: 256),
            defaultDeadline: .milliseconds(defaultDeadline),
            longestDeadline: .milliseconds(longestDeadline),
            queueLimit: table.int("queue", in: 1...1_000_000, default: 1_024),
            drain: .milliseconds(table.int("drain-ms", in: 0...600_000, default: 5_000)))
    }

    private static func token(
        _ table: TableReader, _ absolute: (String) -> String
    ) -> (TokenSettings, environment: [String: String]) {
        let module = table.string("module", expected: "the path or p11-kit name of your HSM's PKCS#11 library") ?? ""
        let uriText = table.string("uri", expected: "a PKCS#11 URI such as \"pkcs11:token=custody\"") ?? ""
        var uri = TokenURI(label: "")
        if table.has("uri") {
            do { uri = try TokenURI(uriText) } catch { table.problem("uri", error.message) }
        }
        let pin: String
        if table.has("pin-credential") {
            let name = table.string("pin-credential", expected: "the name of a systemd credential") ?? ""
            if let folder = ProcessInfo.processInfo.environment["CREDENTIALS_DIRECTORY"] {
                pin = folder + "/" + name
            } else {
                // custodyctl is run outside of the unit and names a PIN file by its own flag.
                pin = "/run/credentials/custodyd.service/" + name
            }
            if table.has("pin-file") { table.problem("pin-file", "give 'pin-file' or 'pin-credential', not both") }
            _ = table.string("pin-file", default: "")
        } else {
            pin = absolute(table.string("pin-file", expected: "the path of a file that holds the user PIN") ?? "")
            _ = table.string("pin-credential", default: "")
        }
        let initialization = table.string("initialization-string", default: "")
        let settings = TokenSettings(
            module: module, initializationString: initialization?.isEmpty == false ? initialization : nil, uri: uri,
            pin: PINSource(path: pin), sessions: table.int("sessions", in: 1...64, default: 1),
            readWriteSessions: table.bool("read-write-sessions", default: false))
        let environment = table.stringTable("environment")
        table.finish()
        return (settings, environment)
    }

    private static func grant(_ table: TableReader) -> Grant? {
        let subject = subject(table)
        let keys = table.strings("keys", expected: "an array of key names, where * stands for anything") ?? []
        var operations: Set<Custody.Operation.Kind> = []
        let known = Custody.Operation.Kind.allCases.map(\.rawValue)
        for name in table.strings("operations", expected: "an array of \(known.joined(separator: ", "))") ?? [] {
            if let kind = Custody.Operation.Kind(rawValue: name) {
                operations.insert(kind)
            } else {
                table.problem("operations", "there is no operation '\(name)'; there are \(known.joined(separator: ", "))")
            }
        }
        let context = table.stringTable("context").mapValues(Pattern.init)
        table.finish()
        guard let subject else { return nil }
        return Grant(rule: table.place, subject: subject, keys: keys.map(Pattern.init), operations: operations, context: context)
    }

    private static func subject(_ table: TableReader) -> Grant.Subject? {
        switch (table.has("user"), table.has("group")) {
        case (true, false):
            _ = table.string("group", default: "")
            guard let name = table.string("user") else { return nil }
            guard let uid = SystemAccounts.uid(ofUser: name) else {
                table.problem("user", "there is no user '\(name)' on this machine; give a user's name or a number")
                return nil
            }
            return .user(name: name, uid: uid)
        case (false, true):
            _ = table.string("user", default: "")
            guard let name = table.string("group") else { return nil }
            guard let gid = SystemAccounts.gid(ofGroup: name) else {
                table.problem("group", "there is no group '\(name)' on this machine; give a group's name or a number")
                return nil
            }
            return .group(name: name, gid: gid)
        default:
            _ = table.string("user", default: "")
            _ = table.string("group", default: "")
            table.problem("", "a grant names one 'user' or one 'group'")
            return nil
        }
    }
}
