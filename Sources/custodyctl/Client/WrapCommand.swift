import ArgumentParser
import Custody
import CustodyClient
import SecureMemory
import ToolSupport

/// `wrap`: standard input to a blob.
struct WrapCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wrap", abstract: "Wrap up to 64 KiB under a root key.",
        discussion: "Example: custodyctl wrap --key payments --context tenant=acme < mek.kms > mek.custody")

    @Option(help: ArgumentHelp("The root key's name.", valueName: "name"))
    var key: String

    @Flag(help: "Write the blob's bytes instead of its text form.")
    var binary = false

    @OptionGroup var files: InputOutputFiles
    @OptionGroup var context: ContextOptions
    @OptionGroup var client: ClientOptions
    @OptionGroup var common: CommonOptions

    func run() async throws {
        let plaintext = SecretBytes(try files.read())
        let entries = try context.entries()
        let wrapped = try await client.withClient(common) { client throws(CustodyClientError) in
            try await client.wrap(plaintext, key: key, context: entries)
        }
        try BlobOutput.write(wrapped, files, binary: binary, json: common.json)
    }
}

/// `rewrap`: an old blob to a new one under the newest version.
struct RewrapCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rewrap", abstract: "Wrap a blob anew under the newest version of its key, without showing its content.",
        discussion: "Example: custodyctl rewrap --context tenant=acme < old.custody > new.custody")

    @Flag(help: "Write the blob's bytes instead of its text form.")
    var binary = false

    @OptionGroup var files: InputOutputFiles
    @OptionGroup var context: ContextOptions
    @OptionGroup var client: ClientOptions
    @OptionGroup var common: CommonOptions

    func run() async throws {
        let blob = try files.readBlob()
        let entries = try context.entries()
        let wrapped = try await client.withClient(common) { client throws(CustodyClientError) in
            try await client.rewrap(blob, context: entries)
        }
        try BlobOutput.write(wrapped, files, binary: binary, json: common.json)
    }
}

enum BlobOutput {
    static func write(_ wrapped: WrappedBlob, _ files: InputOutputFiles, binary: Bool, json: Bool) throws {
        let text = Envelope.text(wrapped.blob)
        if json {
            if files.output != nil { try files.write(binary ? wrapped.blob : Array((text + "\n").utf8)) }
            return try Output.json(WrappedDocument(blob: text, key: wrapped.keyName, version: wrapped.keyVersion))
        }
        try files.write(binary ? wrapped.blob : Array((text + "\n").utf8))
    }
}
