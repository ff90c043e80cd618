import ArgumentParser
import MasterKey
import SecureMemory
import ToolSupport

/// `encrypt`: data under the tenant's master key.
struct EncryptCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "encrypt", abstract: "Encrypt up to 64 MiB under the tenant's MEK (AES-256-GCM).",
        discussion: "Example: custody-mek encrypt acme --associated-data people/17/card < card > card.sealed")

    private struct Document: Encodable {
        let sealed: String
        let masterKeyId: String
    }

    @OptionGroup var tenant: TenantArgument

    @Flag(help: "Write bytes instead of the text form.")
    var binary = false

    @OptionGroup var data: DataOptions
    @OptionGroup var opening: OpeningOptions
    @OptionGroup var services: ServiceOptions

    func run() async throws {
        let name = try tenant.tenant()
        let plaintext = try data.read()
        defer { plaintext.zeroize() }
        let sealed = try await services.withMasterKey(of: name, opening) { try $0.seal(plaintext, associatedData: data.associatedData.utf8) }
        let output = binary ? sealed.bytes : Array((sealed.text + "\n").utf8)
        guard services.common.json else { return try data.files.write(output) }
        if data.files.output != nil { try data.files.write(output) }
        try Output.json(Document(sealed: sealed.text, masterKeyId: "\(sealed.masterKeyID)"))
    }
}
