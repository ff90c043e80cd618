import Foundation
import Synchronization
import TestSupport

/// What an operator has on a host: a token, a configuration file, PIN files, and the programs; in a folder of its own.
///
/// Everything that the programs print is kept in the folder, so that a test can look for secrets in all of it.
final class Installation: Sendable {
    static let uri = "pkcs11:token=custody"

    let token: SoftHSMToken
    private let runs = Mutex(0)

    var directory: TemporaryDirectory { token.directory }
    var configurationFile: String { directory.file("custody.toml") }
    var socket: String { directory.file("s") }
    var auditFile: String { directory.file("audit.jsonl") }

    /// A token that is not initialised yet.
    ///
    /// - Parameters:
    ///   - module: nil for SoftHSM's.
    ///   - environment: Added to what the module finds in its environment.
    ///   - label: Of a token that is initialised and that this process can use as well.
    init(
        label: String? = nil, module: String? = nil, environment: [String: String] = [:], pinFile: String = "pin", grants: String = Grants.everything
    ) async throws {
        token = try await SoftHSMToken(label: label)
        let variables = ["SOFTHSM2_CONF": token.directory.file("softhsm2.conf")].merging(environment) { _, own in own }
        let table = variables.map { "\($0) = \"\($1)\"" }.sorted().joined(separator: ", ")
        try directory.write(
            "custody.toml",
            """
            [server]
            socket = "s"
            socket-mode = "0666"

            [token]
            module = "\(module ?? token.modulePath)"
            uri = "\(Self.uri)"
            pin-file = "\(pinFile)"
            environment = { \(table) }

            [keys]
            look-interval-ms = 50

            [audit]
            file = "audit.jsonl"
            [state]
            directory = "state"

            \(grants)
            """)
    }

    /// A token that `custodyctl` initialised, with root keys.
    static func ready(
        keys: [String] = ["payments"], module: String? = nil, environment: [String: String] = [:],
        grants: String = Grants.everything
    ) async throws -> Installation {
        let installation = try await Installation(module: module, environment: environment, grants: grants)
        try await installation.ok("token", "init", "--label", "custody", "--so-pin-file", installation.token.soPINFile)
        for key in keys { try await installation.ok("key", "generate", key) }
        return installation
    }

    // MARK: Running

    /// Runs `custodyctl` with the configuration.
    func ctl(_ arguments: [String], input: some Sequence<UInt8> & Sendable = [UInt8]()) async throws -> Reply {
        try await start(["custodyctl"] + arguments + ["--config", configurationFile], input: input)
    }

    func ctl(_ arguments: String..., input: some Sequence<UInt8> & Sendable = [UInt8]()) async throws -> Reply {
        try await ctl(arguments, input: input)
    }

    /// Runs it and wants it to succeed.
    @discardableResult
    func ok(_ arguments: String..., input: some Sequence<UInt8> & Sendable = [UInt8]()) async throws -> Reply {
        try await ctl(arguments, input: input).exiting()
    }

    /// Runs it with `--json`, wants it to succeed, and returns the document.
    func json(_ arguments: String..., input: some Sequence<UInt8> & Sendable = [UInt8]()) async throws -> JSON {
        try await ctl(arguments + ["--json"], input: input).exiting().json
    }

    /// Runs it with `--json` and wants it to fail with this exit code.
    @discardableResult
    func refusal(
        _ arguments: String..., exit code: Int32 = 1, input: some Sequence<UInt8> & Sendable = [UInt8]()
    ) async throws -> Refusal {
        try Refusal(try await ctl(arguments + ["--json"], input: input).exiting(code))
    }

    /// Runs any program in the folder, its input and output in files, which keep bytes as they are.
    func start(
        _ command: [String], input: some Sequence<UInt8> & Sendable = [UInt8](), environment: [String: String] = [:]
    ) async throws -> Reply {
        let number = runs.withLock { runs in
            runs += 1
            return runs
        }
        try directory.write("\(number).in", input)
        // The programs of this package first, and a search path that leads to the system's otherwise.
        let path = "\(Products.directory):/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        let result = try await run(
            "/bin/sh", arguments: ["-c", "cd \"$0\" && exec \"$@\" <\(number).in >\(number).out 2>\(number).err", directory.path] + command,
            environment: ["PATH": path].merging(environment) { _, own in own })
        return Reply(
            command: command.joined(separator: " "), status: result.status, bytes: try content("\(number).out"),
            errors: String(decoding: try content("\(number).err"), as: UTF8.self))
    }

    func content(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: directory.file(name)))) }

    /// The records of the audit log.
    func audit() throws -> [JSON] {
        try String(contentsOfFile: auditFile, encoding: .utf8).split(separator: "\n").map { try JSON(String($0)) }
            .filter { $0["event"] == .null }
    }
}

/// What the configuration says about who may do what.
enum Grants {
    static let everything = """
        [[grant]]
        user = "\(getuid())"
        keys = ["*"]
        operations = ["wrap", "unwrap", "rewrap", "generate-data-key", "status"]
        """

    /// Somebody else may do everything.
    static let toAnother = everything.replacing("\"\(getuid())\"", with: "\"\(getuid() + 1)\"")
}

extension Installation {
    /// The mode of a file in the folder.
    func mode(_ name: String) throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: directory.file(name))[.posixPermissions] as? Int
    }
}
