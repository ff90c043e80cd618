import ArgumentParser
import Foundation

/// Where a command reads from and writes to: files, or pipes.
package struct InputOutputFiles: ParsableArguments {
    @Option(name: .customLong("in"), help: ArgumentHelp("Read from this file instead of standard input.", valueName: "file"))
    package var input: String?

    @Option(name: .customLong("out"), help: ArgumentHelp(
        "Write to this file (mode 0600) instead of standard output.", valueName: "file"))
    package var output: String?

    package init() {}

    /// All bytes of the input.
    ///
    /// - Parameter advice: What to say about an input of more bytes than the limit.
    package func read(limit: Int, advice: String) throws -> [UInt8] { try Self.read(input, limit: limit, advice: advice) }

    /// All bytes of a file, or of standard input if none is named.
    package static func read(_ input: String?, limit: Int, advice: String) throws -> [UInt8] {
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
        while bytes.count <= limit {
            guard let chunk = try handle.read(upToCount: 65_536), !chunk.isEmpty else { return bytes }
            bytes += chunk
        }
        throw ToolError("payload-too-large", "the input has more than \(limit) bytes; \(advice)")
    }

    package func write(_ bytes: [UInt8]) throws {
        if let output { return try Self.write(bytes, to: output) }
        try Output.write(bytes)
    }

    /// Writes a whole file or none: a temporary file of mode 0600 beside it is renamed over it.
    package static func write(_ bytes: [UInt8], to path: String) throws {
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
