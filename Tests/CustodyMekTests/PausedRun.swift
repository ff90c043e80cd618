import Foundation
import TestSupport

/// A run of `custody-mek` with `--step-by-step`, which goes on when the test says so.
final class PausedRun: Sendable {
    let process: ChildProcess
    private let input: FileHandle

    init(_ service: TenantService, _ arguments: [String]) throws {
        let pipe = service.directory.file("steps-\(UUID())")
        guard mkfifo(pipe, 0o600) == 0 else { throw POSIXFailure("mkfifo") }
        // Read and write, so that neither side waits for the other to open it.
        let descriptor = Glibc.open(pipe, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { throw POSIXFailure("open \(pipe)") }
        input = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        process = try ChildProcess(
            "/bin/sh", arguments: ["-c", "exec \"$@\" <\"$0\"", pipe, "\(Products.directory)/custody-mek"] + arguments + ["--step-by-step"],
            environment: service.environment)
    }

    /// Lets it do its steps up to this one, after which it waits.
    func go(to step: Int) async throws {
        for done in 1...step {
            try await process.line(containing: "step \(done) of 10")
            if done < step { try goOn() }
        }
    }

    func goOn() throws { try input.write(contentsOf: Data("\n".utf8)) }

    /// Ends it as a power cut does.
    func kill() async throws {
        process.signal(SIGKILL)
        let result = try await process.end()
        guard result.status == .signalled(SIGKILL) else { throw UnexpectedResult(result) }
    }
}
