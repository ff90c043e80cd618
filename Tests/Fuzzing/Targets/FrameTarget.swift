import CustodyProtocol
import NIOCore

/// The frame codec: however a stream is cut, the same frames come out of it, and then the same error.
///
/// The first byte is the size of the pieces, 0 for pieces of all sizes; the stream follows.
enum FrameTarget: FuzzTarget {
    static let name = "frames"
    /// Short, so that inputs reach it.
    private static let limit = 200

    private struct Outcome: Equatable {
        var frames: [[UInt8]] = []
        var ids: [UInt32] = []
        var error: FrameError?
    }

    static func run(_ bytes: [UInt8]) throws {
        guard let size = bytes.first else { return }
        let stream = Array(bytes.dropFirst())
        let expected = read(stream)
        let whole = try parse(stream) { _ in stream.count }
        try require(whole == expected, "in one piece: \(whole), not \(expected)")
        let cut = try parse(stream) { size == 0 ? $0 % 29 + 1 : Int(size) }
        try require(cut == expected, "in pieces: \(cut), not \(expected)")
    }

    private static func parse(_ stream: [UInt8], piece: (Int) -> Int) throws -> Outcome {
        var parser = FrameParser(limit: limit)
        var outcome = Outcome()
        var rest = stream[...]
        while !rest.isEmpty, outcome.error == nil {
            let size = max(1, piece(rest.count))
            var buffer = ByteBuffer(bytes: rest.prefix(size))
            rest = rest.dropFirst(size)
            parser.append(&buffer)
            do throws(FrameError) {
                while let frame = try parser.next() {
                    outcome.ids.append(frame.requestID)
                    outcome.frames.append(Array(frame.body.readableBytesView))
                    // As the server does it: the frames after it must not suffer.
                    frame.body.zeroize()
                }
            } catch {
                outcome.error = error
            }
            // A frame that is not whole, and the piece that came with it; a buffer grows to powers of two.
            let bound = 4 * (limit + Frame.headerLength + size)
            let held = Mirror(reflecting: parser).children.compactMap { $0.value as? ByteBuffer }.reduce(0) { $0 + $1.capacity }
            try require(held <= bound, "the parser holds \(held) bytes")
        }
        return outcome
    }

    /// The format as the protocol's page has it, read in another way.
    private static func read(_ stream: [UInt8]) -> Outcome {
        func number(_ bytes: ArraySlice<UInt8>) -> Int { bytes.reduce(0) { $0 << 8 | Int($1) } }
        var outcome = Outcome()
        var rest = stream[...]
        while rest.count >= 2 {
            guard rest.starts(with: [0x43, 0x44]) else {
                outcome.error = .notAFrame
                break
            }
            guard rest.count >= 12 else { break }
            let header = Array(rest.prefix(12))
            let (length, id) = (number(header[4..<8]), UInt32(number(header[8..<12])))
            if header[2] != 1 || header[3] != 0 {
                outcome.error = .unsupported(version: header[2], flags: header[3], requestID: id)
                break
            }
            if length > limit {
                outcome.error = .tooLarge(length: length, limit: limit, requestID: id)
                break
            }
            guard rest.count >= 12 + length else { break }
            outcome.ids.append(id)
            outcome.frames.append(Array(rest.dropFirst(12).prefix(length)))
            rest = rest.dropFirst(12 + length)
        }
        return outcome
    }
}
