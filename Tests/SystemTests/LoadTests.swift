import CustodyClient
import CustodyProtocol
import Foundation
import SecureMemory
import Synchronization
import TestSupport
import Testing

@Suite struct LoadTests {
    /// 64 connections of 4 processes, 10,000 wraps and as many unwraps: every result right, none lost, no nonce twice.
    @Test func manyConnectionsOfSeveralProcesses() async throws {
        let daemon = try await RunningDaemon.start()
        let pairs = 2_500
        let results = try await withThrowingTaskGroup(of: ProcessResult.self) { group in
            for _ in 0..<4 {
                group.addTask { try await run("custody-load", arguments: [daemon.socket, "root", "16", "\(pairs)"]) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        var nonces: Set<Substring> = []
        var blobs = 0
        for result in results {
            #expect(result.status == .exited(0), "\(result.errors)")
            let lines = result.output.split(separator: "\n")
            #expect(lines.count == pairs)
            blobs += lines.count
            for line in lines { nonces.insert(line.dropFirst(2 * 22).prefix(24)) }
        }
        #expect(blobs == 4 * pairs)
        #expect(nonces.count == blobs)

        let records = try daemon.audit()
        #expect(records.count == 2 * blobs, "one record per operation")
    }

    @Test func pipelinedRequestsAndBatchesAreAnsweredEachWithItsOwn() async throws {
        let daemon = try await RunningDaemon.start()
        try await daemon.withClient { client in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<200 {
                    group.addTask {
                        let payload = Array("payload \(number)".utf8)
                        let wrapped = try await client.wrap(SecretBytes(payload), key: "root", context: ["n": "\(number)"])
                        let opened = try await client.unwrap(wrapped.blob, context: ["n": "\(number)"])
                        #expect(opened.plaintext.exposed() == payload)
                    }
                }
                try await group.waitForAll()
            }
            var operations = (0..<64).map { CustodyClient.Operation.wrap(SecretBytes([UInt8($0)]), key: "root", context: [:]) }
            operations[10] = .wrap(SecretBytes([1]), key: "absent", context: [:])
            operations[20] = .unwrap([1, 2, 3], context: [:])
            let results = try await client.batch(operations)
            #expect(results.count == 64)
            for (index, result) in results.enumerated() {
                switch (index, result) {
                case (10, .failure(let error)): #expect(error.code == .server(.keyNotFound))
                case (20, .failure(let error)): #expect(error.code == .server(.malformedBlob))
                case (10, _), (20, _): Issue.record("operation \(index) should have failed")
                case (_, .success(.wrapped(let wrapped))):
                    let opened = try await client.unwrap(wrapped.blob)
                    #expect(opened.plaintext.exposed() == [UInt8(index)])
                default: Issue.record("operation \(index): \(result)")
                }
            }
        }
    }

    @Test func pastTheBoundsThereIsAnAnswerAtOnce() async throws {
        let daemon = try await RunningDaemon.start(server: "requests-in-flight = 4\nqueue = 2")
        let connection = try RawConnection(daemon.socket)
        let total: UInt32 = 400
        var bytes: [UInt8] = []
        for id in 1...total { bytes += try RawConnection.frame(WireRequest(.wrap([1])), id: id) }
        try connection.send(bytes)
        var served = 0
        var overloaded = 0
        for _ in 1...total {
            let response = try #require(try connection.receive()).response
            let code = response.hasError ? response.error.code : response.results[0].error.code
            if code == ErrorCode.overloaded.rawValue { overloaded += 1 } else { served += code == 0 ? 1 : 0 }
        }
        #expect(served + overloaded == Int(total))
        #expect(served > 0 && overloaded > 0)
    }

    /// Everything that was answered before the daemon was killed opens after the restart, and a client lives through it.
    @Test func killedUnderLoad() async throws {
        let first = try await RunningDaemon.start()
        let answered = Answered()
        let client = first.client(connections: 4, deadline: .seconds(60))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<8 {
                group.addTask {
                    var number = 0
                    while !answered.isOver {
                        number += 1
                        let payload = Array("\(worker)/\(number)".utf8)
                        let wrapped = try await client.wrap(SecretBytes(payload), key: "root", context: ["tenant": "acme"])
                        answered.add(payload, wrapped.blob)
                    }
                }
            }
            var daemon = first
            for round in 1...3 {
                let before = answered.all.count
                try await eventually("answers before kill \(round)") { answered.all.count > before + 200 }
                daemon.process.signal(SIGKILL)
                try await daemon.process.end()
                daemon = try await daemon.again()
            }
            answered.end()
            try await group.waitForAll()
            let all = answered.all
            #expect(all.count > 600)
            for (payload, blob) in all {
                #expect(try await client.unwrap(blob, context: ["tenant": "acme"]).plaintext.exposed() == payload)
            }
            await client.shutdown()
            _ = daemon
        }
    }
}

/// What the callers of one test were answered.
private final class Answered: Sendable {
    private let state = Mutex<(pairs: [(payload: [UInt8], blob: [UInt8])], isOver: Bool)>(([], false))

    var all: [(payload: [UInt8], blob: [UInt8])] { state.withLock { $0.pairs } }
    var isOver: Bool { state.withLock { $0.isOver } }

    func add(_ payload: [UInt8], _ blob: [UInt8]) { state.withLock { $0.pairs.append((payload, blob)) } }
    func end() { state.withLock { $0.isOver = true } }
}
