import Foundation
import ToolSupport

/// Runs a program of the host for `setup`.
struct HostCommand {
    struct Result {
        let status: Int32
        let output: String
        let errors: String

        var isSuccess: Bool { status == 0 }
    }

    let program: String
    let arguments: [String]

    init(_ program: String, _ arguments: String...) {
        self.program = program
        self.arguments = arguments
    }

    /// `custodyctl` itself, as the daemon's user: what works for it works for the daemon, and files of the token are its own.
    init(custodyctl arguments: [String]) {
        program = "runuser"
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? "/usr/bin/custodyctl"
        self.arguments = ["-u", SetupPlan.daemonUser, "--", own] + arguments
    }

    /// - Parameter input: Goes to its standard input.
    /// - Throws: ``ToolError`` if it can't be started.
    func run(input: [UInt8] = []) throws(ToolError) -> Result {
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
        input.withUnsafeBytes { bytes in _ = write(into.fileHandleForWriting.fileDescriptor, bytes.baseAddress, bytes.count) }
        try? into.fileHandleForWriting.close()
        // What these programs print fits into a pipe's buffer: one after the other will do.
        let output = String(decoding: out.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        let complaints = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        let status = process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus
        return Result(status: status, output: output, errors: complaints)
    }

    /// The same, for what must succeed.
    @discardableResult
    func succeed(input: [UInt8] = []) throws(ToolError) -> String {
        let result = try run(input: input)
        guard result.isSuccess else {
            let said = result.errors.trimmingCharacters(in: .whitespacesAndNewlines)
            throw ToolError("failed", "\(([program] + arguments).joined(separator: " ")) failed: \(said.isEmpty ? "status \(result.status)" : said)")
        }
        return result.output
    }
}
