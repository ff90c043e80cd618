import ArgumentParser
import Custody
import CustodyClient
import Foundation
import SecureMemory
import ToolSupport

/// `data-key`: a fresh key from the token, wrapped.
struct DataKeyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "data-key", abstract: "Have the token make a data key and wrap it.",
        discussion: "Example: custodyctl data-key --key payments --context tenant=acme --out dek.custody --plaintext-out dek")

    private struct Document: Encodable {
        let blob: String
        let plaintextBase64: String?
        let key: String
        let version: UInt32
    }

    @Option(help: ArgumentHelp("The root key's name.", valueName: "name"))
    var key: String

    @Option(help: ArgumentHelp("16 to 1024 bytes.", valueName: "bytes"))
    var length = 32

    @Flag(help: "Do not ask for the data key itself, only for the blob.")
    var withoutPlaintext = false

    @Option(name: .customLong("out"), help: ArgumentHelp(
        "Write the blob's text form to this file (mode 0600) instead of standard output.", valueName: "file"))
    var output: String?

    @Option(name: .customLong("plaintext-out"), help: ArgumentHelp(
        "Write the data key's bytes to this file (mode 0600) instead of base64 to standard output.", valueName: "file"))
    var plaintextOutput: String?

    @OptionGroup var context: ContextOptions
    @OptionGroup var client: ClientOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard (16...1_024).contains(length) else { throw ValidationError("--length must be from 16 to 1024") }
        guard !withoutPlaintext || plaintextOutput == nil else {
            throw ValidationError("--plaintext-out makes no sense with --without-plaintext")
        }
    }

    func run() async throws {
        let entries = try context.entries()
        let dataKey = try await client.withClient(common) { client throws(CustodyClientError) in
            try await client.generateDataKey(key: key, length: length, withPlaintext: !withoutPlaintext, context: entries)
        }
        let text = Envelope.text(dataKey.blob)
        if let output { try InputOutputFiles.write(Array((text + "\n").utf8), to: output) }
        if let plaintextOutput, let plaintext = dataKey.plaintext {
            try InputOutputFiles.write(plaintext.exposed(), to: plaintextOutput)
        }
        let shown = plaintextOutput == nil ? dataKey.plaintext.map { Data($0.exposed()).base64EncodedString() } : nil
        if common.json {
            return try Output.json(Document(blob: text, plaintextBase64: shown, key: dataKey.keyName, version: dataKey.keyVersion))
        }
        if output == nil { try Output.write(Array((text + "\n").utf8)) }
        if let shown { try Output.write(Array((shown + "\n").utf8)) }
    }
}
