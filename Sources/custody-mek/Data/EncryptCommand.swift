import ArgumentParser
import Foundation
import MasterKey
import SecureMemory
import ToolSupport

/// What data commands have in common.
struct DataOptions: ParsableArguments {
    /// All of it is held in memory.
    static let limit = 64 * 1_048_576

    @Option(name: .customLong("associated-data"), help: ArgumentHelp(
        "What the data belong to, such as people/17/card; not secret, and needed again to open them.", valueName: "text"))
    var associatedData = ""

    @OptionGroup var files: InputOutputFiles

    func read() throws -> [UInt8] { try files.read(limit: Self.limit, advice: "encrypt it in parts") }
}

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
    @OptionGroup var services: ServiceOptions

    func run() async throws {
        let name = try tenant.tenant()
        let plaintext = try data.read()
        defer { plaintext.zeroize() }
        let sealed = try await services.withMasterKey(of: name) { try $0.seal(plaintext, associatedData: data.associatedData.utf8) }
        let output = binary ? sealed.bytes : Array((sealed.text + "\n").utf8)
        guard services.common.json else { return try data.files.write(output) }
        if data.files.output != nil { try data.files.write(output) }
        try Output.json(Document(sealed: sealed.text, masterKeyId: "\(sealed.masterKeyID)"))
    }
}

/// `decrypt`: sealed data, in either form.
struct DecryptCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "decrypt", abstract: "Decrypt data that `encrypt` gave, in its text form or as bytes.",
        discussion: "Example: custody-mek decrypt acme --associated-data people/17/card < card.sealed")

    private struct Document: Encodable {
        let plaintextBase64: String
        let masterKeyId: String
    }

    @OptionGroup var tenant: TenantArgument
    @OptionGroup var data: DataOptions
    @OptionGroup var services: ServiceOptions

    func run() async throws {
        let name = try tenant.tenant()
        let input = try data.read()
        let sealed = try input.starts(with: SealedData.magic) ? SealedData(input) : SealedData(text: String(decoding: input, as: UTF8.self))
        let plaintext = try await services.withMasterKey(of: name) { try $0.open(sealed, associatedData: data.associatedData.utf8) }
        let bytes = plaintext.exposed()
        defer { bytes.zeroize() }
        guard services.common.json else { return try data.files.write(bytes) }
        if data.files.output != nil { try data.files.write(bytes) }
        try Output.json(Document(plaintextBase64: Data(bytes).base64EncodedString(), masterKeyId: "\(sealed.masterKeyID)"))
    }
}
