import ArgumentParser
import CustodyClient
import Foundation
import SecureMemory
import ToolSupport

/// `unwrap`: a blob to its content.
struct UnwrapCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unwrap", abstract: "Open a blob, in its text form or as bytes.",
        discussion: "Example: custodyctl unwrap --context tenant=acme < mek.custody > mek.kms")

    private struct Document: Encodable {
        let plaintextBase64: String
        let key: String
        let version: UInt32
    }

    @OptionGroup var files: InputOutputFiles
    @OptionGroup var context: ContextOptions
    @OptionGroup var client: ClientOptions
    @OptionGroup var common: CommonOptions

    func run() async throws {
        let blob = try files.readBlob()
        let entries = try context.entries()
        let opened = try await client.withClient(common) { client throws(CustodyClientError) in
            try await client.unwrap(blob, context: entries)
        }
        guard common.json else { return try files.write(opened.plaintext.exposed()) }
        if files.output != nil { try files.write(opened.plaintext.exposed()) }
        try Output.json(Document(
            plaintextBase64: Data(opened.plaintext.exposed()).base64EncodedString(), key: opened.keyName, version: opened.keyVersion))
    }
}
