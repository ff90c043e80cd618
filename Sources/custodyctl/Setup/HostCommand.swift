import Foundation
import SecureMemory
import ToolSupport

/// Runs a program of the host for `setup`.
struct HostCommand {
    struct Result {
        let status: Int32
        let bytes: [UInt8]
        let errors: String

        var isSuccess: Bool { status == 0 }
        var output: String { String(decoding: bytes, as: UTF8.self) }
    }

    let program: String
    let arguments: [String]

    init(_ program: String, _ arguments: String...) {
        self.program = program
        self.arguments = arguments
    }

    /// `custodyctl` itself.
    ///
    /// - Parameter asDaemon: As the daemon's user: what works for it works for the daemon, and files of the token are its own.
    init(custodyctl arguments: [String], asDaemon: Bool) {
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? "/usr/bin/custodyctl"
        program = asDaemon ? "runuser" : own
        self.arguments = (asDaemon ? ["-u", SetupPlan.daemonUser, "--", own] : []) + arguments
    }

    /// - Parameter input: Goes to its standard input.
    /// - Throws: ``ToolError`` if it can't be started, or does not take the input.
    func run(input: SecretBytes? = nil) throws(ToolError) -> Result {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [program] + arguments
        // Nobody's folder: the daemon's user may not be able to enter the one that the operator is in.
        process.currentDirectoryURL = URL(fileURLWithPath: "/")
        process.environment = [
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
        ]
        let (into, out, errors) = (Pipe(), Pipe(), Pipe())
        process.standardInput = into
        process.standardOutput = out
        process.standardError = errors
        do { try process.run() } catch {
            throw ToolError("failed", "\(program) can't be started: \(error.localizedDescription)")
        }
        // A PIN fits into a pipe's buffer, so it is written whole or not at all.
        let isWritten = input.map { secret in
            secret.withBytes { span in
                span.withUnsafeBytes { write(into.fileHandleForWriting.fileDescriptor, $0.baseAddress, $0.count) == $0.count }
            }
        }
        try? into.fileHandleForWriting.close()
        // What these programs print fits, too: one after the other will do.
        let bytes = Array(out.fileHandleForReading.readDataToEndOfFile())
        let complaints = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        let status = process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus
        if isWritten == false, status == 0 { throw ToolError("failed", "\(program) did not read what it was given") }
        return Result(status: status, bytes: bytes, errors: complaints)
    }

    /// The same, for what must succeed.
    @discardableResult
    func succeed(input: SecretBytes? = nil) throws(ToolError) -> [UInt8] {
        let result = try run(input: input)
        guard result.isSuccess else {
            let said = result.errors.split(whereSeparator: \.isNewline).joined(separator: "; ")
            let command = ([program] + arguments).joined(separator: " ")
            throw ToolError("failed", "\(command) failed: \(said.isEmpty ? "status \(result.status)" : said)")
        }
        return result.bytes
    }
}
