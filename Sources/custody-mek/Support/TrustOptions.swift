import ArgumentParser
import Glibc
import MasterKey
import ToolSupport

/// Where it is kept what was seen of tenants.
struct TrustOptions: ParsableArguments {
    @Option(help: ArgumentHelp(
        "The folder in which is kept what was seen of tenants, so that an enabled one stays enabled (default: $CUSTODY_MEK_PINS, else custody-mek in $XDG_STATE_HOME or ~/.local/state).",
        valueName: "folder"))
    var pins: String?

    /// - Throws: `pins-unusable` if a folder is named and can't be used. Without the usual one the command goes on.
    func pins(of database: any TenantDatabase) throws -> TenantPins {
        if let named = pins ?? Environment.value("CUSTODY_MEK_PINS") { return try TenantPins(directory: named, of: database) }
        let state = Environment.value("XDG_STATE_HOME") ?? Environment.value("HOME").map { $0 + "/.local/state" }
        guard let state else {
            Output.complain("custody-mek: there is no HOME, so nothing is remembered of tenants; name a folder by --pins or CUSTODY_MEK_PINS")
            return TenantPins()
        }
        do throws(MasterKeyError) {
            return try TenantPins(directory: state + "/custody-mek", of: database)
        } catch {
            Output.complain("custody-mek: nothing is remembered of tenants, name a folder by --pins or CUSTODY_MEK_PINS: \(error.message)")
            return TenantPins()
        }
    }
}

/// What a tenant has to be for its master key to be opened.
struct OpeningOptions: ParsableArguments {
    @Option(name: .customLong("require-root-key"), help: ArgumentHelp(
        "Open nothing but what lies under this root key; * for any (default: $CUSTODY_MEK_REQUIRE_ROOT_KEY, else not required).", valueName: "name"))
    var rootKey: String?

    @Option(name: .customLong("expect-mek"), help: ArgumentHelp(
        "Open no other MEK than the one of this id, as status shows it.", valueName: "id"))
    var masterKey: String?

    func validate() throws {
        // Whoever sets it wants a root key: nothing must not stand for "none".
        if rootKey == nil, let named = getenv("CUSTODY_MEK_REQUIRE_ROOT_KEY"), named.pointee == 0 {
            throw ValidationError("CUSTODY_MEK_REQUIRE_ROOT_KEY is empty and names no key; * stands for any, unset it to require none")
        }
        if rootKey?.isEmpty == true { throw ValidationError("--require-root-key names no key; * stands for any") }
        if let masterKey, Identifier(hexadecimal: masterKey) == nil { throw ValidationError("--expect-mek has 32 hexadecimal digits") }
    }

    var requirement: RootKeyRequirement {
        (rootKey ?? Environment.value("CUSTODY_MEK_REQUIRE_ROOT_KEY")).map { RootKeyRequirement($0) } ?? .none
    }

    var expectedMasterKey: Identifier? { masterKey.flatMap { Identifier(hexadecimal: $0) } }
}
