import ArgumentParser
import ByteEncoding
import Foundation
import MasterKey
import SecureMemory
import ToolSupport

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
    @OptionGroup var opening: OpeningOptions
    @OptionGroup var services: ServiceOptions

    private static func text(_ input: [UInt8]) throws(ToolError) -> String {
        do throws(NotUTF8) { return try String(strictUTF8: input) } catch {
            throw ToolError("sealed-data-malformed", "the input is no sealed data: \(error)")
        }
    }

    func run() async throws {
        let name = try tenant.tenant()
        let input = try data.read()
        let sealed = try input.starts(with: SealedData.magic) ? SealedData(input) : SealedData(text: Self.text(input))
        let plaintext = try await services.withMasterKey(of: name, opening) { try $0.open(sealed, associatedData: data.associatedData.utf8) }
        let bytes = plaintext.exposed()
        defer { bytes.zeroize() }
        guard services.common.json else { return try data.files.write(bytes) }
        if data.files.output != nil { try data.files.write(bytes) }
        try Output.json(Document(plaintextBase64: Data(bytes).base64EncodedString(), masterKeyId: "\(sealed.masterKeyID)"))
    }
}
