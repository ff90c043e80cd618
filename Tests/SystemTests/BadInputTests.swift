import CustodyClient
import CustodyProtocol
import Foundation
import SecureMemory
import SwiftProtobuf
import TestSupport
import Testing

/// Whatever a client sends, it gets its own documented error or a clean close, and everybody else is served on.
@Suite struct BadInputTests {
    /// Sends one operation and returns the error code that it is answered with; nil for success.
    private func code(_ daemon: RunningDaemon, _ operation: WireOperation) throws -> ErrorCode? {
        let connection = try RawConnection(daemon.socket)
        try connection.send(WireRequest(operation), id: 9)
        let answer = try #require(try connection.receive())
        #expect(answer.id == 9)
        #expect(!answer.response.hasError)
        let result = try #require(answer.response.results.first)
        return if case .error(let error) = result.kind { ErrorCode(rawValue: error.code) } else { nil }
    }

    private func expectServed(_ daemon: RunningDaemon) async throws {
        try await daemon.withClient { client in
            let wrapped = try await client.wrap(SecretBytes([1, 2, 3]), key: "root", context: ["tenant": "acme"])
            let opened = try await client.unwrap(wrapped.blob, context: ["tenant": "acme"])
            #expect(opened.plaintext.exposed() == [1, 2, 3])
        }
    }

    @Test func operationsThatBreakARule() async throws {
        let daemon = try await RunningDaemon.start()
        let connection = try RawConnection(daemon.socket)
        try connection.send(WireRequest(.wrap([7])))
        let blob = try #require(try connection.receive()).response.results[0].wrapped.blob
        let other = Array(blob)
        func changed(_ index: Int, _ value: UInt8) -> [UInt8] {
            var bytes = other
            bytes[index] = value
            return bytes
        }
        let manyEntries = (0..<100).map { ("key-\($0)", "value") }
        let cases: [(String, WireOperation, ErrorCode?)] = [
            ("empty operation", WireOperation(), .unknownOperation),
            ("empty payload", .wrap([]), .invalidRequest),
            ("the longest payload", .wrap([UInt8](repeating: 1, count: 65_536)), nil),
            ("one byte more", .wrap([UInt8](repeating: 1, count: 65_537)), .payloadTooLarge),
            ("1 MiB", .wrap([UInt8](repeating: 1, count: 1_048_576)), .payloadTooLarge),
            ("100 context entries", .wrap([1], context: manyEntries), .invalidContext),
            ("a context key twice", .wrap([1], context: [("a", "1"), ("a", "2")]), .invalidContext),
            ("an empty context key", .wrap([1], context: [("", "1")]), .invalidContext),
            ("a context value of 1,025 bytes", .wrap([1], context: [("a", String(repeating: "x", count: 1_025))]), .invalidContext),
            ("an absent key", .wrap([1], key: "absent"), .keyNotFound),
            ("no key name", .wrap([1], key: ""), .invalidRequest),
            ("an empty blob", .unwrap([]), .malformedBlob),
            ("not a blob", .unwrap([UInt8](repeating: 0x41, count: 80)), .malformedBlob),
            ("another format version", .unwrap(changed(4, 2)), .unsupportedFormat),
            ("another suite", .unwrap(changed(5, 2)), .unsupportedFormat),
            ("another key id", .unwrap(changed(21, other[21] ^ 1)), .keyNotFound),
            ("an altered nonce", .unwrap(changed(30, other[30] ^ 1)), .decryptionFailed),
            ("an altered tag", .unwrap(changed(50, other[50] ^ 1)), .decryptionFailed),
            ("the blob itself", .unwrap(other), nil),
        ]
        for (name, operation, expected) in cases {
            #expect(try code(daemon, operation) == expected, "\(name)")
            try await expectServed(daemon)
        }
        // Cut off after the version and the suite there is no telling a long blob from a short one but the tag.
        for length in 1..<other.count {
            let expected: ErrorCode = length < 50 ? .malformedBlob : .decryptionFailed
            #expect(try code(daemon, .unwrap(Array(other.prefix(length)))) == expected, "cut to \(length)")
        }
    }

    @Test func framesThatCannotBeTrusted() async throws {
        let daemon = try await RunningDaemon.start()
        // Not a frame: closed without an answer.
        for bytes in [Array("GET / HTTP/1.1\r\n\r\n".utf8), [UInt8](repeating: 0, count: 64), [0x43, 0x45]] {
            let connection = try RawConnection(daemon.socket)
            try connection.send(bytes)
            #expect(try connection.receive() == nil)
        }
        // A frame's header that can't be accepted: answered, then closed.
        let headers: [([UInt8], ErrorCode)] = [
            (RawConnection.header(version: 2, length: 0, id: 77), .unsupportedProtocol),
            (RawConnection.header(flags: 1, length: 0, id: 77), .unsupportedProtocol),
            (RawConnection.header(length: UInt32(Frame.requestLimit) + 1, id: 77), .frameTooLarge),
            (RawConnection.header(length: .max, id: 77), .frameTooLarge),
        ]
        for (header, expected) in headers {
            let connection = try RawConnection(daemon.socket)
            try connection.send(header)
            let answer = try #require(try connection.receive())
            #expect(answer.id == 77)
            #expect(answer.response.error.code == expected.rawValue)
            #expect(try connection.receive() == nil)
        }
        try await expectServed(daemon)
    }

    @Test func bodiesThatAreNoRequest() async throws {
        let daemon = try await RunningDaemon.start()
        let connection = try RawConnection(daemon.socket)
        let bodies: [[UInt8]] = [[0xFF, 0xFF, 0xFF], [], [0x0A, 0x05, 0x01]]
        for (index, body) in bodies.enumerated() {
            try connection.send(RawConnection.header(length: UInt32(body.count), id: UInt32(index)) + body)
            let answer = try #require(try connection.receive())
            #expect(answer.id == UInt32(index))
            #expect(answer.response.error.code == ErrorCode.invalidRequest.rawValue)
        }
        try connection.send(.with { $0.operations = Array(repeating: .wrap([1]), count: 257) }, id: 5)
        #expect(try connection.receive()?.response.error.code == ErrorCode.invalidRequest.rawValue)
        // The connection is as good as before.
        try connection.send(WireRequest(.wrap([1])), id: 6)
        #expect(try connection.receive()?.response.results.first?.wrapped.blob.isEmpty == false)
    }

    /// Bytes that are no text are no context, whoever made the frame: they would be another tenant's by repair.
    @Test func textThatIsNone() async throws {
        let daemon = try await RunningDaemon.start()
        let connection = try RawConnection(daemon.socket)
        func body(_ operation: WireOperation, _ replacement: [UInt8]) throws -> [UInt8] {
            let whole = Array(try WireRequest(operation).serializedBytes() as [UInt8])
            let marker = Array("MARK".utf8)
            let start = try #require((0...(whole.count - marker.count)).first { whole[$0..<$0 + marker.count].elementsEqual(marker) })
            return whole[..<start] + replacement + whole[(start + marker.count)...]
        }
        let operations: [(String, WireOperation)] = [
            ("a context's value", .wrap([1], context: [("tenant", "mMARKller")])), ("a context's key", .wrap([1], context: [("MARK", "acme")])),
            ("a key's name", .wrap([1], key: "rMARK")),
        ]
        for (index, (name, operation)) in operations.enumerated() {
            for bytes in [[0xFC, 0x61, 0x61, 0x61], [0xC3, 0x28, 0x61, 0x61], [0xED, 0xA0, 0x80, 0x61], [0x61, 0x61, 0xC0, 0x80]] as [[UInt8]] {
                let body = try body(operation, bytes)
                try connection.send(RawConnection.header(length: UInt32(body.count), id: UInt32(index)) + body)
                let answer = try #require(try connection.receive())
                #expect(answer.response.error.code == ErrorCode.invalidRequest.rawValue, "\(name) \(bytes)")
                #expect(answer.response.results.isEmpty)
            }
            // The same with text is an operation like others: a replacement character that a client means is one.
            let valid = try body(operation, [0xEF, 0xBF, 0xBD, 0x61])
            try connection.send(RawConnection.header(length: UInt32(valid.count), id: 9) + valid)
            #expect(try connection.receive()?.response.hasError == false, "\(name)")
        }
        try await expectServed(daemon)
    }

    /// A million fields in one operation, whichever it is: counted and refused before anybody decodes them. An operation that
    /// nobody knows is not looked into.
    @Test func operationsOfAMillionFields() async throws {
        let daemon = try await RunningDaemon.start()
        let connection = try RawConnection(daemon.socket)
        func field(_ number: UInt8, _ content: [UInt8]) -> [UInt8] {
            var length = content.count
            var bytes = [number << 3 | 2]
            while length >= 0x80 {
                bytes.append(UInt8(length & 0x7F | 0x80))
                length >>= 7
            }
            return bytes + [UInt8(length)] + content
        }
        let fields = [UInt8](repeating: 0, count: 2_000_000).enumerated().map { $0.offset % 2 == 0 ? 0x78 : $0.element }
        for number in UInt8(1)...15 {
            let body = field(1, field(number, fields))
            try connection.send(RawConnection.header(length: UInt32(body.count), id: UInt32(number)) + body)
            let answer = try #require(try connection.receive())
            #expect(answer.id == UInt32(number))
            if number <= 10 {
                #expect(answer.response.error.code == ErrorCode.invalidRequest.rawValue, "\(number)")
                #expect(answer.response.error.message.contains("more fields"), "\(number)")
            } else {
                #expect(answer.response.results.first?.error.code == ErrorCode.unknownOperation.rawValue, "\(number)")
            }
        }
        try await expectServed(daemon)
    }

    @Test func halfFramesAndRandomBytes() async throws {
        let daemon = try await RunningDaemon.start()
        let whole = try RawConnection.frame(WireRequest(.wrap([1])), id: 1)
        var unfinished: [RawConnection] = []
        for length in 0..<whole.count {
            let connection = try RawConnection(daemon.socket)
            try connection.send(Array(whole.prefix(length)))
            if length % 2 == 0 { connection.finish() }
            unfinished.append(connection)
        }
        try await expectServed(daemon)
        for (length, connection) in unfinished.enumerated() where length % 2 == 0 {
            #expect(try connection.receive() == nil, "half a frame of \(length) bytes, then the end")
        }
        var generator = SeededGenerator(seed: 20_261_121)
        for _ in 0..<200 {
            let connection = try RawConnection(daemon.socket)
            var bytes = (0..<Int.random(in: 1...2_000, using: &generator)).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
            // Half of them look like a frame, so that the bytes reach the decoder.
            if Bool.random(using: &generator) { bytes = RawConnection.header(length: UInt32(bytes.count), id: 3) + bytes }
            try? connection.send(bytes)
            connection.finish()
            while let answer = try connection.receive() {
                #expect(answer.response.hasError || !answer.response.results.isEmpty)
            }
        }
        try await expectServed(daemon)
    }

    @Test func whoEndsTheSendingSideStillGetsTheAnswers() async throws {
        let daemon = try await RunningDaemon.start()
        let connection = try RawConnection(daemon.socket)
        for id in UInt32(1)...50 { try connection.send(WireRequest(.wrap([1])), id: id) }
        connection.finish()
        var seen: Set<UInt32> = []
        while let answer = try connection.receive() { seen.insert(answer.id) }
        #expect(seen == Set(1...50))
    }

    /// A long answer is whole before the connection ends.
    @Test func aLongAnswerIsNotCutOff() async throws {
        let daemon = try await RunningDaemon.start()
        let connection = try RawConnection(daemon.socket)
        let payload = [UInt8](repeating: 9, count: 65_536)
        try connection.send(WireRequest(.wrap(payload)))
        let blob = Array(try #require(try connection.receive()).response.results[0].wrapped.blob)
        let last = try RawConnection(daemon.socket)
        try last.send(.with { $0.operations = Array(repeating: .unwrap(blob), count: 30) }, id: 2)
        last.finish()
        let answer = try #require(try last.receive())
        #expect(answer.response.results.count == 30)
        #expect(answer.response.results.allSatisfy { $0.unwrapped.plaintext.elementsEqual(payload) })
        #expect(try last.receive() == nil)
    }

    /// Connections that come, leave half a frame behind and go take nothing of the daemon's memory with them.
    @Test func closedConnectionsLeaveNothing() async throws {
        let daemon = try await RunningDaemon.start()
        let half = RawConnection.header(length: 1_500_000, id: 1) + [UInt8](repeating: 7, count: 1_000_000)
        func comeAndGo(_ times: Int) throws {
            for _ in 0..<times {
                let connection = try RawConnection(daemon.socket)
                try connection.send(half)
                connection.finish()
                #expect(try connection.receive() == nil)
            }
        }
        // The first ones make the allocator take what it then keeps.
        try comeAndGo(20)
        let before = try daemon.residentMegabytes()
        try comeAndGo(200)
        #expect(try daemon.residentMegabytes() - before < 60, "200 connections of 1 MB each")
        try await expectServed(daemon)
    }
}
