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

    @OptionGroup var services: ServiceOptions

    func validate() throws {
        if !check, services.common.json { throw ValidationError("--json goes with --check: the MEK is written as bytes only") }
        if !check, isatty(STDOUT_FILENO) == 1 {
            throw ValidationError("a MEK is not written to a terminal; send it to a program by a pipe, or give --check")
        }
    }

    func run() async throws {
        let name = try tenant.tenant()
        try await services.withMasterKey(of: name) { key in
            if !key.isMemoryLocked { Output.complain("custody-mek: the limit on locked memory lets the MEK be swapped; raise it (ulimit -l)") }
            if check {
                if services.common.json { return try Output.json(Document(tenant: "\(name)", opens: true, masterKeyId: "\(key.id)")) }
                return Output.say("the MEK of tenant \(name) opens")
            }
            let isWritten = try key.withBytes { span in
                span.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) == $0.count }
            }
            guard isWritten else { throw ToolError("output-failed", "the MEK could not be written: \(String(cString: strerror(errno)))") }
        }
    }
}
