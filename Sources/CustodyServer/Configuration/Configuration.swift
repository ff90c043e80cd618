import ByteEncoding
import Crypto
import Custody
import Foundation
import Logging
import PKCS11

/// The configuration file of `custodyd`, from which `custodyctl` takes module, token, PIN and socket as well.
public struct Configuration: Sendable {
    public struct Server: Sendable, Hashable {
        /// The path of the Unix socket.
        public var socket: String
        /// The socket's file mode; the kernel's word on the peer and the grants are the first fence, this is the second.
        public var socketMode: UInt32
        /// Connections at once: of all users together, and of one. A few more are kept for root and the daemon's own user.
        public var connections: Int
        public var connectionsPerUser: Int
        /// How many connections a second one user may open.
        public var connectsPerSecond: Int
        /// Requests that are not answered yet: of one connection, which is not read from past it, and of one user.
        public var requestsInFlight: Int
        public var requestsInFlightPerUser: Int
        /// Bytes of requests that have begun to come and whose answers the client has not taken yet.
        public var memory: Int
        public var memoryPerUser: Int
        public var memoryPerConnection: Int
        /// How long a frame may take from its first byte to its last.
        public var frameTimeout: Duration
        /// How long a client may take for an answer.
        public var writeTimeout: Duration
        /// How long a client may ask nothing; nil for ever.
        public var idleTimeout: Duration?
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
        public var exceptions: Set<KeyName>
        public var lookInterval: Duration
        /// Encryptions per version, past which it wraps no more. At most 2^32, for random 96-bit nonces (NIST SP 800-38D
        /// section 8.3).
        public var usesPerVersion: UInt64
    }

    /// Where it was read.
    public let file: String
    /// SHA-256 of the file's content in hexadecimal, for the audit log.
    public let digest: String
    public var server: Server
    public var token: TokenSettings
    /// Set in the process' environment before the module is loaded: vendors' modules find their own files that way.
    public var environment: [String: String]
    public var keys: Keys
    public var audit: AuditSettings
    /// What outlives the daemon: the uses of key versions, and the audit log's newest anchor. One daemon each.
    public var stateDirectory: String
    public var logLevel: Logger.Level
    public var rules: Rules
    /// What is wrong in parts that were not judged; there the defaults stand instead.
    public let overlooked: [ConfigurationError.Problem]

    /// Where `custodyctl` and `custodyd` look if nothing else is said.
    public static let defaultPath = "/etc/custody/custody.toml"
    public static let defaultSocket = "/run/custody/custody.sock"

    /// Reads and checks a file.
    ///
    /// - Parameter parts: What of it has to be right, such as `token` or `server.socket`; nil for all of it. What is wrong
    ///   elsewhere is ``overlooked``.
    /// - Throws: ``ConfigurationError`` with every problem, each with its line and what is expected.
    public init(contentsOf path: String, judging parts: Set<String>? = nil) throws(ConfigurationError) {
        try self.init(try Self.text(path), file: path, judging: parts)
    }

    private static func text(_ path: String) throws(ConfigurationError) -> String {
        let reason: String
        do {
            if let text = String(data: try Data(contentsOf: URL(fileURLWithPath: path)), encoding: .utf8) { return text }
            reason = "it is not UTF-8 text"
        } catch {
            let cause = (error as NSError).userInfo[NSUnderlyingErrorKey] as? POSIXError
            reason = cause.map { String(cString: strerror($0.code.rawValue)) } ?? error.localizedDescription
        }
        throw ConfigurationError(problems: [.init(file: path, line: nil, message: "can't be read: \(reason); name another with --config")])
    }

    /// - Parameters:
    ///   - text: The content of the file.
    ///   - file: Its path: relative paths in it start from its folder.
    ///   - parts: What of it has to be right; nil for all of it.
    public init(_ text: String, file: String, judging parts: Set<String>? = nil) throws(ConfigurationError) {
        self.file = file
        digest = hexadecimal(Array(SHA256.hash(data: Array(text.utf8))))
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

        stateDirectory = Self.stateDirectory(root.table("state"), absolute)
        audit = Self.audit(root.table("audit"), stateDirectory: stateDirectory, absolute)

        let keysTable = root.table("keys")
        keys = Keys(
            exceptions: Self.exceptions(keysTable),
            lookInterval: .milliseconds(keysTable.int("look-interval-ms", in: 50...60_000, default: 500)),
            usesPerVersion: UInt64(keysTable.int("uses-per-version", in: 1...4_294_967_296, default: 4_294_967_296)))
        keysTable.finish()

        server = Self.server(root.table("server"), absolute)
        (token, environment) = Self.token(root.table("token"), absolute)
        rules = Self.rules(root)
        root.finish()
        let mistakes = problems.problems.sorted { ($0.line ?? 0) < ($1.line ?? 0) }
        let judged = mistakes.filter { mistake in parts?.contains(where: mistake.touches) ?? true }
        guard judged.isEmpty else { throw ConfigurationError(problems: judged) }
        overlooked = mistakes
    }

    private static func exceptions(_ keys: TableReader) -> Set<KeyName> {
        var names: Set<KeyName> = []
        for text in keys.strings("use-without-proof", default: []) ?? [] {
            do throws(CustodyError) {
                names.insert(try KeyName(text))
            } catch {
                keys.problem("use-without-proof", error.message)
            }
        }
        return names
    }
}
