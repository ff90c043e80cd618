import CustodyClient
import CustodyProtocol
import Foundation
import SecureMemory
import SwiftProtobuf
import TestSupport
import Testing

/// Clients that take their time: everybody else is served, and what they hold is bounded in size and in time.
@Suite struct SlowClientTests {
    private func expectServed(_ daemon: RunningDaemon) async throws {
        try await daemon.withClient { client in
            let wrapped = try await client.wrap(SecretBytes([1, 2, 3]), key: "root")
            #expect(try await client.unwrap(wrapped.blob).plaintext.exposed() == [1, 2, 3])
        }
    }

    /// A frame of many such operations, whose answer is as long; the machine may take its time with it.
    private func longFrame(_ blob: [UInt8], _ count: Int) throws -> [UInt8] {
        try RawConnection.frame(.with { $0.operations = Array(repeating: .unwrap(blob), count: count); $0.deadlineMs = 60_000 }, id: 1)
    }

    private func longBlob(_ connection: RawConnection) throws -> [UInt8] {
        try connection.send(WireRequest(.wrap([UInt8](repeating: 9, count: 65_536))))
        return Array(try #require(try connection.receive()).response.results[0].wrapped.blob)
    }

    @Test func silenceWithinAFrame() async throws {
        let daemon = try await RunningDaemon.start(server: "frame-timeout-ms = 300")
        let whole = try RawConnection.frame(WireRequest(.wrap([1])), id: 9)
        let idle = try RawConnection(daemon.socket)
        // Within the header, and within the body.
        for (length, id) in [(1, UInt32(0)), (11, 0), (12, 9), (20, 9)] {
            let slow = try RawConnection(daemon.socket)
            try slow.send(Array(whole.prefix(length)))
            try await expectServed(daemon)
            let answer = try #require(try slow.receive())
            #expect(answer.id == id)
            #expect(answer.response.error.code == ErrorCode.invalidRequest.rawValue)
            #expect(answer.response.error.message.contains("frame-timeout-ms"))
            #expect(try slow.receive() == nil)
        }
        // Between frames there is no hurry.
        try idle.send(whole)
        #expect(try idle.receive()?.response.results.first?.wrapped.blob.isEmpty == false)
        try await daemon.withClient { client in
            let door = try await client.status().door
            #expect(door.connectionsRefused == 4)
            #expect(door.bytesInFlight < 10_000)
        }
    }

    /// Bytes that trickle in do not start the clock anew.
    @Test func aByteNowAndThen() async throws {
        let daemon = try await RunningDaemon.start(server: "frame-timeout-ms = 400")
        let slow = try RawConnection(daemon.socket)
        try await eventually("the end of a connection that trickles") {
            do {
                try slow.send([0x43])
                try slow.send([0x44, 1, 0, 0, 0x10, 0, 0, 0, 0, 0, 1])
                while true {
                    try slow.send([0])
                    try await Task.sleep(for: .milliseconds(20))
                }
            } catch is POSIXFailure {
                return true
            }
        }
        #expect(try slow.receive()?.response.error.message.contains("frame-timeout-ms") == true)
        try await expectServed(daemon)
    }

    @Test func whoAsksNothing() async throws {
        let daemon = try await RunningDaemon.start(server: "idle-timeout-ms = 300")
        let idle = try RawConnection(daemon.socket)
        #expect(try idle.receive() == nil)
        let second = try RawConnection(daemon.socket)
        try second.send(WireRequest(.wrap([1])))
        #expect(try second.receive() != nil)
        #expect(try second.receive() == nil)
    }

    /// Asks for long answers again and again and reads none of them.
    @Test(arguments: [false, true]) func answersThatNobodyReads(_ isHalfClosed: Bool) async throws {
        let daemon = try await RunningDaemon.start(server: "write-timeout-ms = 500\nmemory-mib-per-connection = 4")
        let blob = try longBlob(try RawConnection(daemon.socket))
        let frame = try longFrame(blob, 30)
        func pester() throws -> [RawConnection] {
            let deaf = try (0..<4).map { _ in try RawConnection(daemon.socket) }
            for connection in deaf { connection.sendInBackground(frame, times: isHalfClosed ? 2 : 20, thenFinish: isHalfClosed) }
            return deaf
        }
        // The first ones make the allocator take what it then keeps.
        var deaf = try pester()
        try await daemon.withClient { client in
            try await eventually("the end of those that read nothing") { try await client.status().door.connections == 1 }
        }
        let before = try daemon.residentMegabytes()
        deaf += try pester()
        try await daemon.withClient { client in
            var most = 0
            try await eventually("the end of those that read nothing") {
                most = max(most, try daemon.residentMegabytes())
                _ = try await client.unwrap(blob, context: ["tenant": "acme"])
                return try await client.status().door.connections == 1
            }
            // 4 connections of at most 4 MiB, a few times over; 20 frames each would be 160 MiB, and as much in answers.
            #expect(most - before < 120)
            let door = try await client.status().door
            #expect(door.connectionsRefused >= 8)
            #expect(door.bytesInFlight < 1_000_000)
        }
        #expect(!daemon.logLines("does not take its answers").isEmpty)
        withExtendedLifetime(deaf) {}
    }

    /// A client that pipelines more than it may have in flight waits, and is refused nothing.
    @Test func pastTheBoundOfAConnectionItWaits() async throws {
        let daemon = try await RunningDaemon.start(server: "requests-in-flight = 4")
        let connection = try RawConnection(daemon.socket)
        let total: UInt32 = 500
        var bytes: [UInt8] = []
        for id in 1...total { bytes += try RawConnection.frame(WireRequest(.wrap([1])), id: id) }
        try connection.send(bytes)
        var seen: Set<UInt32> = []
        for _ in 1...total {
            let answer = try #require(try connection.receive())
            #expect(answer.response.results.first?.wrapped.blob.isEmpty == false)
            seen.insert(answer.id)
        }
        #expect(seen.count == Int(total))
    }

    /// The same past the bytes of a connection; long frames in small pieces.
    @Test func pastTheBytesOfAConnectionItWaits() async throws {
        let daemon = try await RunningDaemon.start(server: "memory-mib-per-connection = 1")
        let connection = try RawConnection(daemon.socket)
        let blob = try longBlob(connection)
        let frame = try longFrame(blob, 10)
        connection.sendInBackground(frame, times: 20)
        for _ in 0..<20 {
            let answer = try #require(try connection.receive())
            #expect(answer.response.results.count == 10)
            #expect(answer.response.results.allSatisfy { $0.unwrapped.plaintext.count == 65_536 }, "\(answer.response.results.map(\.error.message))")
        }
    }
}
