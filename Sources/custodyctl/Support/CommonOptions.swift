import ArgumentParser
import Custody
import CustodyServer
import Glibc
import PKCS11
import Synchronization
import ToolSupport

/// What every command takes: where the token and the daemon are, and the form of the answer. A flag overrides the
/// configuration file.
struct CommonOptions: ParsableArguments {
    @Option(help: ArgumentHelp(
        "The configuration file (default: $CUSTODY_CONFIG, else \(Configuration.defaultPath)).", valueName: "file"))
    var config: String?

    @Option(help: ArgumentHelp("The HSM's PKCS#11 library, or the name by which p11-kit knows it.", valueName: "path"))
    var module: String?

    @Option(help: ArgumentHelp("The token, such as pkcs11:token=custody.", valueName: "uri"))
    var token: String?

    @Option(name: .customLong("pin-file"), help: ArgumentHelp(
        "A file with the user PIN that only its owner can read.", valueName: "file"))
    var pinFile: String?

    @Option(name: .customLong("pin-fd"), help: ArgumentHelp("An open descriptor to read the user PIN from.", valueName: "n"))
    var pinDescriptor: Int32?

    @Option(help: ArgumentHelp("The daemon's Unix socket.", valueName: "path"))
    var socket: String?

    @Flag(help: "Print one JSON document, also for an error.")
    var json = false

    func validate() throws {
        try PINReader(what: "user PIN", flag: "--pin", file: pinFile, descriptor: pinDescriptor).validate()
    }

    /// The socket to speak to the daemon: the flag, else the configuration's, else the usual one.
    func socketPath() throws -> String {
        if let socket { return socket }
        return try configuration(judging: ["server.socket"]).configuration?.server.socket ?? Configuration.defaultSocket
    }

    /// Which module and token a command works on. A mistake in the rules must not keep anybody from disabling a key, so
    /// only what is about the token and its keys has to be right, and not even that if flags say all that is needed.
    ///
    /// - Parameter needsToken: False for commands that look at slots.
    func tokenAccess(needsToken: Bool = true) throws -> TokenAccess {
        let (found, place): (Configuration?, String)
        let saysAll = module != nil && token != nil && (pinFile ?? pinDescriptor.map(String.init)) != nil
        do throws(ConfigurationError) {
            (found, place) = try configuration(judging: saysAll ? [] : ["token", "keys"])
        } catch {
            // Not a `catch where`, on which the compiler stumbles.
            guard saysAll else { throw error }
            Self.warn(of: error.problems)
            (found, place) = (nil, "it is broken")
        }
        guard let name = module ?? found?.token.module else {
            throw ToolError.configuration("no PKCS#11 module is named: give --module PATH, or a configuration file by --config (\(place))")
        }
        let uri = try token.map { text throws in try TokenURI(text) } ?? found?.token.uri
        if needsToken, uri == nil {
            throw ToolError.configuration("no token is named: give --token URI such as pkcs11:token=custody, or a configuration file by --config (\(place))")
        }
        return TokenAccess(
            module: name,
            // It is meant for the configuration's module and for no other.
            initializationString: name == found?.token.module ? found?.token.initializationString : nil,
            environment: found?.environment ?? [:], uri: uri,
            pin: userPIN("user PIN", found), configuration: found, configurationPlace: place)
    }

    private func userPIN(_ what: String, _ found: Configuration?) -> PINReader {
        PINReader(what: what, flag: "--pin", file: pinFile, descriptor: pinDescriptor, fallback: found?.token.pin)
    }

    /// The configuration, nil if none is named and the usual file can't be read; and what to say about it.
    ///
    /// - Parameter parts: What of it has to be right, nil for all of it; elsewhere mistakes are only warned of.
    func configuration(judging parts: Set<String>? = nil) throws(ConfigurationError) -> (configuration: Configuration?, place: String) {
        func read(_ path: String) throws(ConfigurationError) -> Configuration {
            let found = try Configuration(contentsOf: path, judging: parts)
            Self.warn(of: found.overlooked)
            return found
        }
        if let config { return (try read(config), config) }
        if let variable = getenv("CUSTODY_CONFIG").map({ String(cString: $0) }), !variable.isEmpty {
            return (try read(variable), "\(variable) from $CUSTODY_CONFIG")
        }
        let usual = Configuration.defaultPath
        guard access(usual, R_OK) == 0 else {
            return (nil, "\(usual): \(String(cString: strerror(errno)).lowercased())")
        }
        return (try read(usual), usual)
    }

    /// What was warned of: some commands read the file for more than one purpose.
    private static let warned = Mutex<Set<String>>([])

    private static func warn(of problems: [ConfigurationError.Problem]) {
        for problem in problems where warned.withLock({ $0.insert(problem.description).inserted }) {
            Output.complain("custodyctl: warning: \(problem.description)")
        }
    }
}
