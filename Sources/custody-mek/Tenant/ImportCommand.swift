import ArgumentParser
import MasterKey
import ToolSupport

/// `import`: a tenant whose master key a service has already.
struct ImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Take over a MEK that the KMS has encrypted already; its ciphertext is proved to open first.",
        discussion: """
            Example: custody-mek import acme --kms-key alias/service --kms-context app=billing < mek.kms

            If the context does not bind it to the tenant, the KMS encrypts it anew with one that does.
            """)

    @OptionGroup var tenant: TenantArgument

    @Option(name: .customLong("kms-key"), help: ArgumentHelp("The KMS key: an ARN, an id or an alias.", valueName: "key"))
    var kmsKey: String

    @Option(name: .customLong("kms-context"), help: ArgumentHelp(
        "The encryption context that the KMS got with it; may be repeated.", valueName: "key=value"))
    var context: [String] = []

    @Option(name: .customLong("in"), help: ArgumentHelp("Read the ciphertext from this file instead of standard input.", valueName: "file"))
    var input: String?

    @OptionGroup var kms: KMSOptions
    @OptionGroup var trust: TrustOptions
    @OptionGroup var common: CommonOptions

    func validate() throws { _ = try KeyValue.dictionary(context, flag: "--kms-context") }

    func run() async throws {
        let name = try tenant.tenant()
        let entries = try KeyValue.dictionary(context, flag: "--kms-context")
        let ciphertext = try InputOutputFiles.read(input, limit: 6_144, advice: "a KMS's ciphertext has no more")
        try await common.withDatabase { database in
            let pins = try trust.pins(of: database)
            return try await kms.withKMS { kms in
                let record = try await Registration(database: database, kms: kms, pins: pins)
                    .take(name, ciphertext: ciphertext, underKMSKey: kmsKey, context: entries)
                try TenantView(record).show(json: common.json, "took over tenant \(name)")
            }
        }
    }
}
