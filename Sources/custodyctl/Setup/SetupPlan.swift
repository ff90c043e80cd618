import Custody
import Foundation
import ToolSupport

/// What an operator has decided for `setup`.
struct SetupPlan {
    /// The daemon's user, and the group of who may connect; the package makes both.
    static let daemonUser = "custody"
    static let clientGroup = "custody-clients"
    static let softHSMConfiguration = "/etc/custody/softhsm2.conf"
    static let softHSMTokens = "/var/lib/custody/softhsm/tokens"
    /// Where the PIN is kept for systemd, and what the unit calls it.
    static let credential = "custody.pin.encrypted"
    static let credentialFile = "/etc/credstore.encrypted/custody.pin.encrypted"

    let module: String
    let label: String
    let key: String
    let serviceUsers: [String]
    let pinFile: String?
    let securityOfficer: PINReader
    /// Whether somebody is there to be asked for the PIN of a token.
    let mayAsk: Bool

    /// - Throws: ``ToolError`` for what can't be right, before anything is done.
    init(
        module: String, label: String, key: String, serviceUsers: [String], pinFile: String?, securityOfficer: PINReader, mayAsk: Bool
    ) throws(ToolError) {
        func wrong(_ message: String) -> ToolError { ToolError("usage", message, exit: ToolExit.usage) }
        guard module.hasPrefix("/"), FileManager.default.fileExists(atPath: module) else {
            throw wrong("there is no PKCS#11 library \(module): give the path of your HSM's with --module")
        }
        guard (1...32).contains(label.utf8.count), !label.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
            throw wrong("a token's label has 1 to 32 bytes, and no control characters")
        }
        do throws(CustodyError) { _ = try KeyName(key) } catch { throw wrong("--key '\(key)': \(error.message)") }
        for user in serviceUsers where getpwnam(user) == nil {
            throw wrong("there is no user '\(user)' on this host: make it first, or leave it out of --service-user")
        }
        self.module = module
        self.label = label
        self.key = key
        self.serviceUsers = serviceUsers
        self.pinFile = pinFile
        self.securityOfficer = securityOfficer
        self.mayAsk = mayAsk
    }

    /// Where Debian has SoftHSM; nil if it is not installed.
    static func softHSM() -> String? {
        ["/usr/lib/softhsm", "/usr/lib/x86_64-linux-gnu/softhsm", "/usr/lib/aarch64-linux-gnu/softhsm"].map { $0 + "/libsofthsm2.so" }
            .first { FileManager.default.fileExists(atPath: $0) }
    }

    /// A SoftHSM needs a folder for its tokens and a configuration that names it.
    var isSoftHSM: Bool { module.contains("softhsm") }

    var tokenURI: String { "pkcs11:token=\(Self.percentEncoded(label))" }

    /// The configuration file's text.
    var configuration: String {
        let environment = isSoftHSM ? "environment = { SOFTHSM2_CONF = \"\(Self.softHSMConfiguration)\" }\n" : ""
        var text = """
            # Written by `custodyctl setup`. What can be set: custody.toml(5), and `custodyd --check-config` tells of mistakes.
            # `systemctl reload custodyd` puts changed grants, denials and limits in force; the rest counts from the next start.

            [token]
            module = \(Self.quoted(module))
            uri = \(Self.quoted(tokenURI))
            pin-credential = "\(Self.credential)"
            \(environment)
            # For `custodyctl status`, and `custodyctl reload`, by hand.
            [[grant]]
            user = "root"
            operations = ["status", "reload"]

            # For `systemctl reload custodyd`, which runs as the daemon's own user.
            [[grant]]
            user = "\(Self.daemonUser)"
            operations = ["status", "reload"]

            # For custody-metrics.service.
            [[grant]]
            user = "custody-metrics"
            operations = ["status"]

            """
        for user in serviceUsers {
            text += """

                [[grant]]
                user = \(Self.quoted(user))
                keys = [\(Self.quoted(key))]
                operations = ["wrap", "unwrap", "rewrap", "generate-data-key", "status"]
                # Any context, none included. To keep services apart: context = { tenant = "..." }

                """
        }
        return text
    }

    private static func quoted(_ text: String) -> String {
        "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }

    /// RFC 7512 section 2.3.
    private static func percentEncoded(_ text: String) -> String {
        text.utf8.map { byte in
            let character = Character(UnicodeScalar(byte))
            return character.isASCII && (character.isLetter || character.isNumber || "-._~".contains(character))
                ? String(character) : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
        }.joined()
    }
}
