import Custody
import Foundation
import PKCS11

/// `[token]`.
extension Configuration {
    static func token(
        _ table: TableReader, pinAttempts: String, _ absolute: (String) -> String
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
            pin: PINSource(path: pin), pinAttempts: PINAttempts(path: pinAttempts), sessions: table.int("sessions", in: 1...64, default: 1),
            readWriteSessions: table.bool("read-write-sessions", default: false),
            hungAfter: .milliseconds(table.int("hung-call-ms", in: 50...600_000, default: 3_000)),
            hungLimit: table.int("hung-calls", in: 0...64, default: 8),
            canaryInterval: .milliseconds(table.int("canary-interval-ms", in: 100...3_600_000, default: 10_000)))
        let environment = table.stringTable("environment")
        table.finish()
        return (settings, environment)
    }
}
