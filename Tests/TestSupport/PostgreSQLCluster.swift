import Foundation
import Synchronization

/// A PostgreSQL server of the tests' own: in a temporary folder, with a Unix socket in it, and no port unless it is asked for.
///
/// It ends with this process, whatever ends that: somebody waits for the end of a pipe from here.
public final class PostgreSQLCluster: Sendable {
    /// The superuser's name; everybody may log in as it.
    public static let superuser = "admin"

    private struct Server {
        let process: Process
        /// The server goes when this is closed.
        let lifeline: FileHandle
    }

    private let directory: TemporaryDirectory
    private let binaries: String
    private let user: [String]
    private let network: [String]
    /// On 127.0.0.1; nil without a network.
    public let port: Int?
    private let server = Mutex<Server?>(nil)
    private let databases = Mutex(0)

    /// The folder of the socket.
    public var socketFolder: String { directory.path }
    public var dataFolder: String { directory.file("data") }

    /// What it listens to besides its Unix socket: a free port of 127.0.0.1.
    public enum Network: Sendable {
        case none, clear
        /// With a certificate that no authority has signed, for these names, such as `IP:127.0.0.1`.
        case tls(names: String)
    }

    /// The file of its certificate, if it has TLS.
    public var certificateFile: String { directory.file("server.pem") }

    /// Makes the cluster and starts it.
    ///
    /// - Parameter access: Lines for the beginning of pg_hba.conf.
    public init(access: String = "", network: Network = .none) async throws {
        binaries = try Self.binaries()
        directory = try TemporaryDirectory()
        let certificate = directory.file("server.pem"), key = directory.file("server.key")
        switch network {
        case .none: (port, self.network) = (nil, ["-c", "listen_addresses="])
        case .clear, .tls:
            let free = try Self.freePort()
            var settings = ["-c", "listen_addresses=127.0.0.1", "-c", "port=\(free)"]
            if case .tls(let names) = network {
                let made = try await run(
                    "openssl",
                    arguments: [
                        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                        "/CN=custody test", "-addext", "subjectAltName=\(names)", "-keyout", key, "-out", certificate,
                    ])
                guard made.status == .exited(0) else { throw UnexpectedResult(made) }
                settings += ["-c", "ssl=on", "-c", "ssl_cert_file=\(certificate)", "-c", "ssl_key_file=\(key)"]
            }
            (port, self.network) = (free, settings)
        }
        user = try Self.unprivilegedUser(owning: [directory.path, certificate, key])
        try directory.write("hba", access + "\nlocal all all trust\n", mode: 0o644)
        let arguments = [
            "\(binaries)/initdb", "-D", dataFolder, "-U", Self.superuser, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync",
            "--no-instructions",
        ]
        let command = user + arguments
        let result = try await run(command[0], arguments: Array(command.dropFirst()))
        guard result.status == .exited(0) else { throw UnexpectedResult(result) }
        try await start()
    }

    deinit { try? server.withLock { $0.take() }?.lifeline.close() }

    // MARK: The shared one

    private static let lock = AsyncLock()
    private static let sharedCluster = Mutex<PostgreSQLCluster?>(nil)

    /// The one of this process; not to be stopped.
    public static func shared() async throws -> PostgreSQLCluster {
        await lock.acquire()
        do {
            let cluster: PostgreSQLCluster
            if let made = sharedCluster.withLock({ $0 }) {
                cluster = made
            } else {
                cluster = try await PostgreSQLCluster()
                sharedCluster.withLock { $0 = cluster }
            }
            await lock.release()
            return cluster
        } catch {
            await lock.release()
            throw error
        }
    }

    // MARK: Running

    public func start() async throws {
        // The shell becomes the server. Before, it leaves somebody behind who reads the pipe; when that ends, so does the
        // server, and its folder with it. No `wait`: signals are blocked in what a thread of Swift's starts.
        let script = """
            exec 3<&0
            server=$$
            ( (
                read -r word <&3
                [ "$word" != stop ] || exec kill -INT $server
                kill -QUIT $server
                while [ -e "$FOLDER/data/postmaster.pid" ]; do sleep 0.1; done
                rm -rf "$FOLDER"
            ) >/dev/null 2>&1 & )
            exec "$@" >"$LOG" 2>&1 </dev/null 3<&-
            """
        let pipe = Pipe()
        // No other process that is started meanwhile may have it: the pipe would not end with this one.
        guard fcntl(pipe.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC) == 0 else { throw POSIXFailure("fcntl") }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", script, "sh"] + user + [
            "\(binaries)/postgres", "-D", dataFolder, "-k", directory.path] + network + [
            "-c", "fsync=off", "-c", "hba_file=\(directory.file("hba"))", "-c", "max_connections=200", "-c", "unix_socket_permissions=0777",
            "-c", "shared_buffers=32MB", "-c", "lc_messages=C", "-c", "autovacuum=off",
        ]
        process.environment = ProcessInfo.processInfo.environment.merging(
            ["LOG": directory.file("log"), "FOLDER": directory.path]) { _, own in own }
        process.standardInput = pipe
        try process.run()
        server.withLock { $0 = Server(process: process, lifeline: pipe.fileHandleForWriting) }
        try await eventually("the start of PostgreSQL") {
            guard process.isRunning else {
                throw NotInstalled(description: (try? String(contentsOfFile: directory.file("log"), encoding: .utf8)) ?? "no log")
            }
            // The eighth line is the server's state.
            let lines = (try? String(contentsOfFile: dataFolder + "/postmaster.pid", encoding: .utf8))?
                .split(separator: "\n", omittingEmptySubsequences: false)
            return lines.map { $0.count >= 8 && ($0[7].hasPrefix("ready") || $0[7].hasPrefix("standby")) } ?? false
        }
    }

    /// Stops it in the fast way: sessions are ended, what they had begun is rolled back.
    public func stop() async throws {
        guard let server = server.withLock({ $0.take() }) else { return }
        try server.lifeline.write(contentsOf: Data("stop\n".utf8))
        try server.lifeline.close()
        try await eventually("the end of PostgreSQL") { !server.process.isRunning }
    }

    // MARK: Databases

    /// Makes an empty database, which sorts texts as people do if the server can, and returns its name.
    public func makeDatabase() async throws -> String {
        let name = "test\(databases.withLock { $0 += 1; return $0 })"
        let major = Int(binaries.split(separator: "/").dropLast().last ?? "") ?? 0
        let locale = major >= 15 ? "LOCALE_PROVIDER icu ICU_LOCALE 'en' LOCALE 'C'" : ""
        try await psql("CREATE DATABASE \(name) TEMPLATE template0 \(locale)", database: "postgres")
        return name
    }

    public func address(of database: String, user: String = superuser) -> String {
        "postgresql:///\(database)?host=\(socketFolder)&user=\(user)" + (port.map { "&port=\($0)" } ?? "")
    }

    /// Runs statements as superuser, each in a transaction of its own, and returns what they printed.
    @discardableResult
    public func psql(_ statements: String..., database: String) async throws -> String {
        let result = try await run(
            "\(binaries)/psql", arguments: arguments(database) + statements.flatMap { ["-c", $0] })
        guard result.status == .exited(0) else { throw UnexpectedResult(result) }
        return result.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// A session that goes on until it is let go of.
    public func session(_ script: String, database: String) throws -> ChildProcess {
        try ChildProcess("\(binaries)/psql", arguments: arguments(database), input: script)
    }

    private func arguments(_ database: String) -> [String] {
        ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", socketFolder, "-U", Self.superuser, "-d", database]
            + (port.map { ["-p", "\($0)"] } ?? [])
    }

    // MARK: What the machine offers

    /// The newest version's programs.
    private static func binaries() throws -> String {
        let versions = (try? FileManager.default.contentsOfDirectory(atPath: "/usr/lib/postgresql")) ?? []
        let folders = versions.compactMap(Int.init).sorted(by: >).map { "/usr/lib/postgresql/\($0)/bin" }
        guard let folder = folders.first(where: { FileManager.default.isExecutableFile(atPath: "\($0)/postgres") }) else {
            throw NotInstalled(description: "cannot find PostgreSQL's server; install postgresql")
        }
        return folder
    }

    /// A port of 127.0.0.1 that nobody has at this moment.
    private static func freePort() throws -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw POSIXFailure("socket") }
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let failed = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) != 0 || getsockname(descriptor, $0, &length) != 0 }
        }
        guard !failed else { throw POSIXFailure("bind") }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    /// The beginning of a command that runs as somebody else if this is root, as whom PostgreSQL refuses to run. Gives the
    /// folder and the files to them.
    private static func unprivilegedUser(owning paths: [String]) throws -> [String] {
        guard geteuid() == 0 else { return [] }
        guard let account = getpwnam("postgres") ?? getpwnam("nobody") else {
            throw NotInstalled(description: "cannot run PostgreSQL as root, and there is no account postgres or nobody")
        }
        let (user, group) = (account.pointee.pw_uid, account.pointee.pw_gid)
        for path in paths where FileManager.default.fileExists(atPath: path) {
            guard chown(path, user, group) == 0 else { throw POSIXFailure("chown \(path)") }
        }
        guard chmod(paths[0], 0o755) == 0 else { throw POSIXFailure("chmod \(paths[0])") }
        return ["/usr/bin/setpriv", "--reuid=\(user)", "--regid=\(group)", "--clear-groups"]
    }
}
