import ArgumentParser
import Custody
import Foundation
import SecureMemory

/// Where a command reads from and writes to: files, or pipes.
struct BlobFiles: ParsableArguments {
    @Option(name: .customLong("in"), help: ArgumentHelp("Read from this file instead of standard input.", valueName: "file"))
    var input: String?

    @Option(name: .customLong("out"), help: ArgumentHelp(
        "Write to this file (mode 0600) instead of standard output.", valueName: "file"))
    var output: String?

    /// More than any payload: what is longer is refused by the daemon with its own words.
    private static let readLimit = 1_048_576

    /// All bytes of the input.
    func read() throws -> [UInt8] {
        let handle: FileHandle
        if let input {
            guard let opened = FileHandle(forReadingAtPath: input) else {
                throw ToolError("input-failed", "can't read \(input): \(String(cString: strerror(errno)))")
            }
            handle = opened
        } else {
            if isatty(STDIN_FILENO) == 1 { Output.complain("reading from the terminal; end with Ctrl-D") }
            handle = .standardInput
        }
        var bytes: [UInt8] = []
        while bytes.count <= Self.readLimit {
            guard let chunk = try handle.read(upToCount: 65_536), !chunk.isEmpty else { return bytes }
            bytes += chunk
        }
        throw ToolError("payload-too-large", "the input has more than \(Self.readLimit) bytes; Custody wraps keys and small secrets")
    }

    /// A blob in either form.
    func readBlob() throws -> [UInt8] {
        let bytes = try read()
        guard !bytes.isEmpty else { throw ToolError("malformed-blob", "the input is empty; a blob is expected, as bytes or as text") }
        if bytes.starts(with: Envelope.magic) { return bytes }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ToolError("malformed-blob", "the input is no blob of Custody's, neither the bytes nor the text form \(Envelope.textPrefix)...")
        }
        return try Envelope.bytes(fromText: text)
    }

    func write(_ bytes: [UInt8]) throws {
        guard let output else { return FileHandle.standardOutput.write(Data(bytes)) }
        try Self.write(bytes, to: output)
    }

    /// Writes a whole file or none: a temporary file of mode 0600 beside it is renamed over it.
    static func write(_ bytes: [UInt8], to path: String) throws {
        let temporary = "\(path).\(getpid()).tmp"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        func failed() -> ToolError { ToolError("output-failed", "can't write \(path): \(String(cString: strerror(errno)))") }
        guard descriptor >= 0 else { throw failed() }
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        do {
            try handle.write(contentsOf: Data(bytes))
            try handle.synchronize()
        } catch {
            unlink(temporary)
            throw ToolError("output-failed", "can't write \(path): \(error.localizedDescription)")
        }
        guard rename(temporary, path) == 0 else {
            let error = failed()
            unlink(temporary)
            throw error
        }
    }
}

/// A wrapped blob as a command prints it.
struct WrappedDocument: Encodable {
    let blob: String
    let key: String
    let version: UInt32
}
