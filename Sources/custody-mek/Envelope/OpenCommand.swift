import ArgumentParser
import Foundation
import MasterKey
import SecureMemory
import ToolSupport

/// `open`: the master key, for a service that has no library of ours.
struct OpenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "open", abstract: "Open the MEK and write its bytes to a pipe, or only check that it opens.",
        discussion: """
            Example: custody-mek open acme | service --key-from-stdin
                     custody-mek open acme --check
            """)

    private struct Document: Encodable {
        let tenant: String
        let opens: Bool
        let masterKeyId: String
    }

    @OptionGroup var tenant: TenantArgument

    @Flag(help: "Open it and write nothing but that it opens.")
    var check = false

    @OptionGroup var opening: OpeningOptions
    @OptionGroup var services: ServiceOptions

    func validate() throws {
        if !check, services.common.json { throw ValidationError("--json goes with --check: the MEK is written as bytes only") }
        if !check, let place = Self.refusedOutput() {
            throw ValidationError("a MEK is not written to \(place); send it to a program by a pipe, or give --check")
        }
    }

    /// What standard output is if it is neither a pipe nor a socket. A terminal shows the MEK and remembers it, and a file
    /// keeps it for everybody whom the umask lets read.
    private static func refusedOutput() -> String? {
        var status = stat()
        guard fstat(STDOUT_FILENO, &status) == 0 else { return "a closed standard output" }
        switch status.st_mode & S_IFMT {
        case S_IFIFO, S_IFSOCK: return nil
        case S_IFREG: return "a file, which others may read and which keeps it"
        case S_IFCHR where isatty(STDOUT_FILENO) == 1: return "a terminal"
        default: return "what is neither a pipe nor a socket"
        }
    }

    /// Writes all of it, however the pipe takes it.
    ///
    /// - Returns: The number of the error; nil if all is written.
    private static func write(_ bytes: UnsafeRawBufferPointer) -> Int32? {
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = UnsafeRawBufferPointer(rebasing: rest)
            let count = Foundation.write(STDOUT_FILENO, piece.baseAddress, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return count < 0 ? errno : EIO }
            rest = rest.dropFirst(count)
        }
        return nil
    }

    func run() async throws {
        let name = try tenant.tenant()
        try await services.withMasterKey(of: name, opening) { key in
            if !key.isMemoryLocked { Output.complain("custody-mek: the limit on locked memory lets the MEK be swapped; raise it (ulimit -l)") }
            if check {
                if services.common.json { return try Output.json(Document(tenant: "\(name)", opens: true, masterKeyId: "\(key.id)")) }
                return Output.say("the MEK of tenant \(name) opens")
            }
            let failure = try key.withBytes { span in span.withUnsafeBytes { Self.write($0) } }
            if let failure {
                throw ToolError("output-failed", "the MEK could not be written: \(String(cString: strerror(failure)))")
            }
        }
    }
}
