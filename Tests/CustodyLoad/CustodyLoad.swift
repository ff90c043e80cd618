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

    private static func check(_ client: CustodyClient, _ key: String, tenant: String) async throws -> String {
        let payload = (0..<Int.random(in: 1...300)).map { _ in UInt8.random(in: .min ... .max) }
        let wrapped = try await client.wrap(SecretBytes(payload), key: key, context: ["tenant": tenant])
        let opened = try await client.unwrap(wrapped.blob, context: ["tenant": tenant])
        guard opened.plaintext.exposed() == payload else { throw Wrong(what: "a blob opened to something else") }
        return wrapped.blob.map { String(format: "%02x", $0) }.joined()
    }
}
