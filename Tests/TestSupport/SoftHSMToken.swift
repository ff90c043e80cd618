import Foundation
import PKCS11
import SecureMemory

/// A token of SoftHSM's in a folder of its own, with its configuration and a PIN file; all of it goes with the last
/// reference.
///
/// Processes find it by ``environment``. Tests that load the module into their own process use
/// ``SoftHSM/withToken(label:_:)`` instead of making one themselves.
public final class SoftHSMToken: Sendable {
    public static let userPIN = "user-pin-of-a-test"
    public static let soPIN = "so-pin-of-a-test"

    public let directory: TemporaryDirectory
    /// Empty if it is not initialised.
    public let label: String
    public let modulePath: String

    /// - Parameter label: nil for a folder in which no token is initialised yet.
    public init(label: String? = "custody") async throws {
        directory = try TemporaryDirectory()
        modulePath = try SoftHSM.modulePath()
        self.label = label ?? ""
        try FileManager.default.createDirectory(atPath: directory.file("tokens"), withIntermediateDirectories: false)
        try directory.write("softhsm2.conf", configuration)
        try directory.write("pin", Self.userPIN + "\n")
        try directory.write("so-pin", Self.soPIN + "\n")
        if let label { try await initialize(label: label) }
    }

    /// What goes into softhsm2.conf.
    public var configuration: String {
        """
        directories.tokendir = \(directory.file("tokens"))
        objectstore.backend = file
        log.level = ERROR
        slots.removable = false

        """
    }

    /// What a process needs in its environment to see this token.
    public var environment: [String: String] { ["SOFTHSM2_CONF": directory.file("softhsm2.conf")] }

    public var pinFile: String { directory.file("pin") }
    public var soPINFile: String { directory.file("so-pin") }
    public var uri: TokenURI { TokenURI(label: label) }

    /// Adds a token by another process, so that the module in this one need not be loaded.
    public func initialize(label: String) async throws {
        let result = try await run(
            "softhsm2-util",
            arguments: [
                "--module", modulePath, "--init-token", "--free", "--label", label, "--so-pin", Self.soPIN,
                "--pin", Self.userPIN,
            ], environment: environment)
        guard result.status == .exited(0) else { throw UnexpectedResult(result) }
    }
}

// MARK: In this process

extension SoftHSMToken {
    /// Lends the initialised module and finalises it afterwards, whatever happens: SoftHSM crashes in its exit handlers
    /// otherwise.
    public func withModule<R>(_ body: (Module) throws -> R) throws -> R { try Self.withModule(modulePath, body) }

    /// The same for a module that stands before SoftHSM's.
    public static func withModule<R>(_ path: String, _ body: (Module) throws -> R) throws -> R {
        let module = try Module(path)
        let result = Result { try body(module) }
        if !module.isFinalized { try module.finalize() }
        return try result.get()
    }

    /// Lends a read-write session in which the user is logged in.
    public func withSession<R>(_ body: (borrowing Session) throws -> R) throws -> R {
        try withModule { module in
            let session = try module.openSession(try module.token(matching: uri).slot, readWrite: true)
            try session.login(.user, pin: Self.secret(Self.userPIN))
            return try body(session)
        }
    }

    public static func secret(_ text: String) -> SecretBytes { SecretBytes(Array(text.utf8)) }
}

extension SoftHSMToken {
    /// Takes the folder of the tokens away, as a lost disk does.
    public func removeTokens() throws { try FileManager.default.removeItem(atPath: directory.file("tokens")) }
}
