import NIOCore
import Testing

@testable import CustodyProtocol

@Suite struct FrameParserTests {
    private func frame(_ id: UInt32, _ body: [UInt8]) -> [UInt8] {
        var buffer = ByteBuffer()
        Frame.write(requestID: id, body: body, to: &buffer)
        return Array(buffer.readableBytesView)
    }

    @Test func headerBytes() {
        #expect(frame(7, [0x0A, 0x02, 0x3A, 0x00]) == [
            0x43, 0x44, 1, 0, 0, 0, 0, 4, 0, 0, 0, 7, 0x0A, 0x02, 0x3A, 0x00,
        ])
    }

    /// However the stream is cut, the same frames come out.
    @Test(arguments: [1, 2, 3, 11, 12, 13, 50, 1_000])
    func cutAnywhere(_ piece: Int) throws {
        let bodies: [[UInt8]] = [[], [1], Array(repeating: 2, count: 300), [3, 4]]
        let stream = bodies.enumerated().flatMap { frame(UInt32($0.offset), $0.element) }
        var parser = FrameParser(limit: 1_000)
        var seen: [(UInt32, [UInt8])] = []
        for start in stride(from: 0, to: stream.count, by: piece) {
            var bytes = ByteBuffer(bytes: stream[start..<min(start + piece, stream.count)])
            parser.append(&bytes)
            while let frame = try parser.next() { seen.append((frame.requestID, Array(frame.body.readableBytesView))) }
        }
        #expect(seen.map(\.0) == [0, 1, 2, 3])
        #expect(seen.map(\.1) == bodies)
    }

    @Test func errorsAsSoonAsTheHeaderIsThere() {
        func error(_ bytes: [UInt8]) -> FrameError? {
            var parser = FrameParser(limit: 10)
            var buffer = ByteBuffer(bytes: bytes)
            parser.append(&buffer)
            do throws(FrameError) {
                _ = try parser.next()
                return nil
            } catch {
                return error
            }
        }
        #expect(error([0x43]) == nil)
        #expect(error([0x43, 0x45]) == .notAFrame)
        #expect(error([0x43, 0x44, 9]) == nil, "the request id is not there yet")
        #expect(error([0x43, 0x44, 9, 0, 0, 0, 0, 0, 0, 0, 0, 5]) == .unsupported(version: 9, flags: 0, requestID: 5))
        #expect(error([0x43, 0x44, 1, 4, 0, 0, 0, 0, 0, 0, 0, 5]) == .unsupported(version: 1, flags: 4, requestID: 5))
        #expect(error([0x43, 0x44, 1, 0, 0, 0, 0, 11, 0, 0, 0, 5]) == .tooLarge(length: 11, limit: 10, requestID: 5))
        #expect(error([0x43, 0x44, 1, 0, 0, 0, 0, 10, 0, 0, 0, 5]) == nil)
    }

    @Test func aFrameThatIsNotWantedIsPassedOver() throws {
        for cut in [0, 1, 100, 299] {
            let stream = frame(1, Array(repeating: 1, count: 300)) + frame(2, [2])
            var parser = FrameParser(limit: 1_000)
            var first = ByteBuffer(bytes: stream.prefix(Frame.headerLength + cut))
            parser.append(&first)
            #expect(try parser.header() == FrameHeader(length: 300, requestID: 1))
            #expect(!parser.hasFrame)
            try parser.skip()
            #expect(parser.isWithinFrame)
            #expect(try parser.header() == nil)
            for byte in stream.dropFirst(Frame.headerLength + cut) {
                var bytes = ByteBuffer(bytes: [byte])
                parser.append(&bytes)
                #expect(parser.capacity < 100, "what is passed over takes no memory")
            }
            #expect(parser.hasFrame)
            #expect(try parser.next()?.requestID == 2)
            #expect(!parser.isWithinFrame)
        }
    }

    /// A connection that idles after a long frame keeps none of its memory.
    @Test func nothingIsKeptAfterAFrame() throws {
        var parser = FrameParser(limit: 1_000_000)
        let whole = frame(1, Array(repeating: 7, count: 500_000))
        for piece in [whole.prefix(300_000), whole.dropFirst(300_000)] {
            var bytes = ByteBuffer(bytes: piece)
            parser.append(&bytes)
        }
        #expect(try parser.next()?.body.readableBytes == 500_000)
        #expect(parser.capacity == 0)
    }

    /// A client that always leaves half a frame behind does not make the parser keep what it has sent.
    @Test func memoryStaysBounded() throws {
        let whole = frame(1, Array(repeating: 7, count: 1_000))
        var parser = FrameParser(limit: 10_000)
        var first = ByteBuffer(bytes: whole.prefix(500))
        parser.append(&first)
        for _ in 0..<2_000 {
            var bytes = ByteBuffer(bytes: whole.suffix(from: 500) + whole.prefix(500))
            parser.append(&bytes)
            #expect(try parser.next() != nil)
            #expect(try parser.next() == nil)
        }
        #expect(parser.capacity < 20_000)
    }
}
