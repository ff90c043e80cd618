import CustodyClient
import Foundation
import SecureMemory

/// A client process for the system tests: wraps fresh payloads over several connections, opens each blob again, compares,
/// and prints a line with the blob for every pair that was right.
///
/// Usage: custody-load SOCKET KEY CONNECTIONS PAIRS
///
/// As a storm: opens one blob again and again, as fast as it can and without the client's patience, until it is killed.
///
/// Usage: custody-load SOCKET storm CALLERS BLOB-IN-BASE64
///
/// As a good client whose patience is measured: opens one blob of tenant acme again and again, one call at a time, and prints
/// how many calls there were, how many failed, and the p50, p99 and maximum of their microseconds.
///
/// Usage: custody-load SOCKET measure SECONDS BLOB-IN-BASE64
@main
struct CustodyLoad {
    struct Wrong: Error {
        let what: String
    }

    static func main() async throws {
        let arguments = CommandLine.arguments
        if arguments.count == 5, arguments[2] == "storm", let callers = Int(arguments[3]), let blob = Data(base64Encoded: arguments[4]) {
            return try await storm(arguments[1], callers: callers, Array(blob))
        }
        if arguments.count == 5, arguments[2] == "measure", let seconds = Int(arguments[3]), let blob = Data(base64Encoded: arguments[4]) {
            return await measure(arguments[1], for: .seconds(seconds), Array(blob))
        }
        guard arguments.count == 5, let connections = Int(arguments[3]), let pairs = Int(arguments[4]) else {
            throw Wrong(what: "usage: custody-load SOCKET KEY CONNECTIONS PAIRS")
        }
        let (socket, key) = (arguments[1], arguments[2])
        try await withThrowingTaskGroup(of: [String].self) { group in
            for connection in 0..<connections {
                group.addTask {
                    // One client of one connection each, so that the daemon sees as many connections as were asked for.
                    let client = CustodyClient(.init(socket: socket, connections: 1, deadline: .seconds(60)))
                    var lines: [String] = []
                    for pair in stride(from: connection, to: pairs, by: connections) {
                        lines.append(try await check(client, key, tenant: "tenant-\(pair % 7)"))
                    }
                    await client.shutdown()
                    return lines
                }
            }
            for try await lines in group {
                FileHandle.standardOutput.write(Data(lines.map { $0 + "\n" }.joined().utf8))
            }
        }
    }

    private static func storm(_ socket: String, callers: Int, _ blob: [UInt8]) async throws {
        let client = CustodyClient(.init(socket: socket, connections: 4, deadline: .seconds(60)))
        // The first answer, whatever it is, says that the storm is on.
        _ = try await client.batch([.unwrap(blob, context: [:])])
        FileHandle.standardOutput.write(Data("storming\n".utf8))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<callers {
                group.addTask { while true { _ = try await client.batch([.unwrap(blob, context: [:])]) } }
            }
            try await group.waitForAll()
        }
    }

    private static func measure(_ socket: String, for time: Duration, _ blob: [UInt8]) async {
        let client = CustodyClient(.init(socket: socket, connections: 1, deadline: .seconds(10)))
        var latencies: [Int] = []
        var failures = 0
        let end = ContinuousClock.now + time
        while ContinuousClock.now < end {
            let start = ContinuousClock.now
            do {
                _ = try await client.unwrap(blob, context: ["tenant": "acme"])
            } catch {
                failures += 1
            }
            latencies.append(Int(start.duration(to: .now) / .microseconds(1)))
            // Not a flood itself, and it meets the daemon asleep as well as awake.
            try? await Task.sleep(for: .microseconds(200))
        }
        await client.shutdown()
        latencies.sort()
        let (p50, p99) = (latencies[latencies.count / 2], latencies[latencies.count * 99 / 100])
        print(latencies.count, failures, p50, p99, latencies.last ?? 0)
    }

    private static func check(_ client: CustodyClient, _ key: String, tenant: String) async throws -> String {
        let payload = (0..<Int.random(in: 1...300)).map { _ in UInt8.random(in: .min ... .max) }
        let wrapped = try await client.wrap(SecretBytes(payload), key: key, context: ["tenant": tenant])
        let opened = try await client.unwrap(wrapped.blob, context: ["tenant": tenant])
        guard opened.plaintext.exposed() == payload else { throw Wrong(what: "a blob opened to something else") }
        return wrapped.blob.map { String(format: "%02x", $0) }.joined()
    }
}
