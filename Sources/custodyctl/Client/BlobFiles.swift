import Custody
import SecureMemory
import ToolSupport

extension InputOutputFiles {
    /// All bytes of the input. The limit is more than any payload: what is longer is refused by the daemon in its own words.
    func read() throws -> [UInt8] { try read(limit: 1_048_576, advice: "Custody wraps keys and small secrets") }

    /// A blob in either form.
    func readBlob() throws -> [UInt8] { try Self.blob(try read()) }

    /// The blob that a file of either form holds.
    static func blob(_ bytes: [UInt8]) throws -> [UInt8] {
        guard !bytes.isEmpty else { throw ToolError("malformed-blob", "the input is empty; a blob is expected, as bytes or as text") }
        if bytes.starts(with: Envelope.magic) { return bytes }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ToolError("malformed-blob", "the input is no blob of Custody's, neither the bytes nor the text form \(Envelope.textPrefix)...")
        }
        return try Envelope.bytes(fromText: text)
    }
}

/// A wrapped blob as a command prints it.
struct WrappedDocument: Encodable {
    let blob: String
    let key: String
    let version: UInt32
}
