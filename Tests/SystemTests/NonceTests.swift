import CustodyClient
import Foundation
import SecureMemory
import TestSupport
import Testing

/// Where the daemon's nonces come from, seen from outside: its calls of the kernel's generator, its memory, and its blobs.
@Suite(.enabled(if: geteuid() == 0, "only root may trace a daemon that forbids it"))
struct NonceTests {
    /// strace, attached to a daemon.
    private struct Tracer {
        let process: ChildProcess
        let file: String

        init(_ daemon: RunningDaemon, _ options: String...) async throws {
            file = daemon.token.directory.file("trace")
            process = try ChildProcess(
                "strace",
                arguments: ["-f", "-xx", "-s", "64", "-o", file, "-e", "trace=getrandom"] + options + ["-p", "\(daemon.process.processID)"])
            try await process.line(containing: "attached")
            // It attaches to one thread after the other.
            let folder = "/proc/\(daemon.process.processID)/task"
            try await eventually("a tracer at every thread") {
                try FileManager.default.contentsOfDirectory(atPath: folder).allSatisfy { thread in
                    guard let status = try? String(contentsOfFile: "\(folder)/\(thread)/status", encoding: .utf8) else { return true }
                    return !status.contains("TracerPid:\t0\n")
                }
            }
        }

        /// What was drawn for nonces so far, 12 bytes each.
        func drawn() throws -> [[UInt8]] {
            try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n").compactMap { line in
                guard line.contains(", 12, 0) = 12"), let text = line.split(separator: "\"").dropFirst().first else { return nil }
                return text.split(separator: "\\x").compactMap { UInt8($0, radix: 16) }
            }
        }

        func end() async throws {
            process.signal(SIGINT)
            try await process.end()
        }
    }

    private func nonce(_ blob: [UInt8]) -> [UInt8] { Array(blob[22..<34]) }

    private func wrap(_ count: Int, _ client: CustodyClient) async throws -> [[UInt8]] {
        var nonces: [[UInt8]] = []
        for _ in 0..<count { nonces.append(nonce(try await client.wrap(SecretBytes([1, 2, 3]), key: "root").blob)) }
        return nonces
    }

    /// Each is drawn for its wrap, and neither it nor what it is made of stood in memory before.
    @Test func noNonceIsInMemoryBeforeItsUse() async throws {
        let daemon = try await RunningDaemon.start()
        try await daemon.withClient { client in
            _ = try await wrap(3, client)
            let tracer = try await Tracer(daemon)
            let memory = try ProcessMemory(daemon.process.processID).copy()
            #expect(memory.map(\.count).reduce(0, +) > 1_000_000)
            let nonces = try await wrap(40, client)
            let drawn = try tracer.drawn()
            try await tracer.end()
            // The canary may have drawn one as well.
            #expect((40...42).contains(drawn.count), "\(drawn.count)")
            #expect(Set(nonces).count == 40)
            for value in nonces + drawn { #expect(!memory.contains { $0.holds(value) }) }
        }
    }

    /// A kernel whose generator gives one value for ever.
    @Test func aGeneratorThatRepeatsRepeatsNoNonce() async throws {
        let daemon = try await RunningDaemon.start()
        try await daemon.withClient { client in
            _ = try await wrap(3, client)
            let value = [UInt8](repeating: 0x42, count: 12)
            let tracer = try await Tracer(daemon, "-e", "inject=getrandom:poke_exit=@arg1=" + String(repeating: "42", count: 12))
            let nonces = try await wrap(40, client)
            try await tracer.end()
            #expect(Set(nonces).count == 40)
            // The use's number is what remains at the end.
            let uses = nonces.map { nonce in zip(nonce[8...], value[8...]).reduce(UInt32(0)) { $0 << 8 | UInt32($1.0 ^ $1.1) } }
            #expect(uses == Array(3..<43), "\(uses)")
        }
    }
}
