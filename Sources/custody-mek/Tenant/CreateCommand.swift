import ArgumentParser
import MasterKey
import ToolSupport

/// `create`: a tenant with a new master key.
struct CreateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Make a new tenant with a new MEK of 32 random bytes, encrypted by the KMS alone.",
        discussion: "Example: custody-mek create acme --kms-key alias/acme      (then: custody-mek enable acme --root-key payments)")

    @OptionGroup var tenant: TenantArgument

    @Option(name: .customLong("kms-key"), help: ArgumentHelp("The KMS key: an ARN, an id or an alias.", valueName: "key"))
    var kmsKey: String

    @OptionGroup var kms: KMSOptions
    @OptionGroup var trust: TrustOptions
    @OptionGroup var common: CommonOptions

    func run() async throws {
        let name = try tenant.tenant()
        try await common.withDatabase { database in
            let pins = try trust.pins(of: database)
            return try await kms.withKMS { kms in
                let record = try await Registration(database: database, kms: kms, pins: pins).create(name, underKMSKey: kmsKey)
                try TenantView(record).show(json: common.json, "made tenant \(name)")
            }
        }
    }
}
