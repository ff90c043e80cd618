import Foundation
import TestSupport

/// Somebody else's session at the tenant database, by the database's own shell: to look, to interfere and to hold locks.
final class HeldSession: Sendable {
    private let process: ChildProcess
    private let input: FileHandle

    init(_ service: TenantService) throws {
        let pipe = service.directory.file("session-\(UUID())")
        guard mkfifo(pipe, 0o600) == 0 else { throw POSIXFailure("mkfifo") }
        let descriptor = Glibc.open(pipe, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { throw POSIXFailure("open \(pipe)") }
        input = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        process = try ChildProcess("/bin/sh", arguments: ["-c", "exec \"$@\" <\"$0\"", pipe] + Self.shell(service))
    }

    private static func shell(_ service: TenantService) -> [String] {
        if service.address.hasPrefix("sqlite:") {
            ["sqlite3", "-batch", String(service.address.dropFirst("sqlite:".count))]
        } else {
            ["psql", "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", service.address]
        }
    }

    /// Sends statements, and waits until they are done.
    func run(_ statements: String) async throws {
        let mark = "done-\(UUID())"
        try input.write(contentsOf: Data("\(statements);\nSELECT '\(mark)';\n".utf8))
        try await process.line(containing: mark)
    }

    /// Runs statements in a session of their own, and returns what they print.
    @discardableResult
    static func run(_ service: TenantService, _ statements: String) async throws -> String {
        let shell = shell(service)
        let result = try await TestSupport.run(shell[0], arguments: Array(shell.dropFirst()), input: statements + ";\n")
        guard result.status == .exited(0), result.errors.isEmpty else { throw UnexpectedResult(result) }
        return result.output
    }
}
