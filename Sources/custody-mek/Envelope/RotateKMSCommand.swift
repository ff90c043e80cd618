import ArgumentParser
import MasterKey
import ToolSupport

/// `rotate-kms`: the inner layer anew.
struct RotateKMSCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate-kms", abstract: "Encrypt the MEK by the KMS anew, after its key was rotated or to move to a fresh key.",
        discussion: """
            Example: custody-mek rotate-kms acme

            Without --new-key, the same KMS key encrypts anew, with its newest key material. With it, a KMS key is made and \
            the old one scheduled for deletion. The root key's layer is made anew as well. Steps, journal and safety are as \
            with enable.
            """)

    @OptionGroup var tenant: TenantArgument

    @Flag(help: "Move to a fresh KMS key and schedule the old one for deletion.")
    var newKey = false

    @OptionGroup var change: ChangeOptions
    @OptionGroup var services: ServiceOptions

    func run() async throws {
        let name = try tenant.tenant()
        try await services.withServices { services in
            try await change.run(newKey ? .rotateKMSKey : .refreshKMS, of: name, services, json: self.services.common.json)
        }
    }
}
