import Foundation
import PKCS11

/// What a test needs is not on this machine.
public struct NotInstalled: Error, CustomStringConvertible {
    public let description: String
}

/// The SoftHSM of this machine.
public enum SoftHSM {
    /// Where distributions put the module.
    private static let places = [
        "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ]

    /// The module's path.
    public static func modulePath() throws -> String {
        try firstFile(of: places, "SoftHSM's module; install softhsm2")
    }

    static func firstFile(of paths: [String], _ what: String) throws -> String {
        guard let path = paths.first(where: { FileManager.default.isReadableFile(atPath: $0) }) else {
            throw NotInstalled(description: "cannot find \(what)")
        }
        return path
    }

    private static let lock = AsyncLock()

    /// The one configuration file that this process' environment names. The environment is changed once only, since other
    /// threads may read it at any time; what changes from token to token is the file, which C_Initialize reads.
    private static let processConfiguration: Result<TemporaryDirectory, any Error> = Result {
        let directory = try TemporaryDirectory()
        directory.removeAtExit()
        setenv("SOFTHSM2_CONF", directory.file("softhsm2.conf"), 1)
        return directory
    }

    /// Lends a token of its own to a test that loads the module into this process.
    ///
    /// A module is initialised once per process and all tests share one process, so only one such test runs at a time.
    /// The body must leave the module finalised; ``SoftHSMToken/withModule(_:)`` does.
    ///
    /// - Parameter label: nil for a token that is not initialised.
    public static func withToken<R>(
        label: String? = "custody", _ body: (SoftHSMToken) async throws -> R
    ) async throws -> R {
        await lock.acquire()
        do {
            let token = try await SoftHSMToken(label: label)
            try processConfiguration.get().write("softhsm2.conf", token.configuration)
            let result = try await body(token)
            await lock.release()
            return result
        } catch {
            await lock.release()
            throw error
        }
    }

    /// Lends a session, in which the user is logged in, on a token that was made earlier.
    public static func withSession<R>(on token: SoftHSMToken, _ body: (borrowing Session) throws -> R) async throws -> R {
        await lock.acquire()
        let result = Result {
            try processConfiguration.get().write("softhsm2.conf", token.configuration)
            return try token.withSession(body)
        }
        await lock.release()
        return try result.get()
    }
}
