import CSystemShim
import NIOCore

/// What a frame says of itself before its body is there.
public struct FrameHeader: Sendable, Equatable {
    /// Bytes of the body.
    public let length: Int
    public let requestID: UInt32
}

/// Cuts a byte stream into frames.
public struct FrameParser {
    private var buffer = ByteBuffer()
    /// What is still to come of a body that nobody wants.
    private var skipping = 0
    private let limit: Int

    /// - Parameter limit: The longest body that is accepted.
    public init(limit: Int) { self.limit = limit }

    /// How much memory the parser holds, for tests.
    var capacity: Int { buffer.capacity }

    /// Whether something of a frame is there and something of it is not.
    public var isWithinFrame: Bool { skipping > 0 || buffer.readableBytes > 0 && !hasFrame }

    /// Whether a whole frame is there, or bytes that are no frame's.
    public var hasFrame: Bool {
        do throws(FrameError) {
            guard let header = try header() else { return false }
            return buffer.readableBytes >= Frame.headerLength + header.length
        } catch {
            return true
        }
    }

    public mutating func append(_ bytes: inout ByteBuffer) {
        if skipping > 0 {
            let count = min(skipping, bytes.readableBytes)
            bytes.moveReaderIndex(forwardBy: count)
            skipping -= count
        }
        guard bytes.readableBytes > 0 else { return }
        if buffer.readableBytes == 0 {
            buffer = bytes
        } else {
            // A client that always leaves half a frame behind must not make the buffer keep all that it ever sent.
            buffer.discardReadBytes()
            buffer.writeBuffer(&bytes)
        }
    }

    /// The header of the next frame, whose body need not be there yet; nil if more bytes are needed. It is judged as soon
    /// as it is there, so that nobody's length makes the parser wait for a body that it would not accept.
    public func header() throws(FrameError) -> FrameHeader? {
        // A wrong first byte is enough to know.
        if buffer.readableBytes >= 2, buffer.getInteger(at: buffer.readerIndex, as: UInt16.self) != Frame.magic {
            throw .notAFrame
        }
        guard buffer.readableBytes >= Frame.headerLength,
            let (_, version, flags, length, requestID) = buffer.peekMultipleIntegers(
                as: (UInt16, UInt8, UInt8, UInt32, UInt32).self)
        else { return nil }
        guard version == Frame.protocolVersion, flags == 0 else {
            throw .unsupported(version: version, flags: flags, requestID: requestID)
        }
        guard Int(length) <= limit else { throw .tooLarge(length: Int(length), limit: limit, requestID: requestID) }
        return FrameHeader(length: Int(length), requestID: requestID)
    }

    /// The next whole frame; nil if more bytes are needed.
    public mutating func next() throws(FrameError) -> Frame? {
        guard let header = try header(), buffer.readableBytes >= Frame.headerLength + header.length else { return nil }
        buffer.moveReaderIndex(forwardBy: Frame.headerLength)
        guard let body = buffer.readSlice(length: header.length) else { return nil }
        releaseIfEmpty()
        return Frame(requestID: header.requestID, body: body)
    }

    /// Drops the next frame, whose header is there: its body is passed over as it comes and takes no memory.
    public mutating func skip() throws(FrameError) {
        guard let header = try header() else { return }
        let count = min(buffer.readableBytes, Frame.headerLength + header.length)
        buffer.moveReaderIndex(forwardBy: count)
        skipping = Frame.headerLength + header.length - count
        releaseIfEmpty()
    }

    /// A connection that idles after a long frame must not keep its memory.
    private mutating func releaseIfEmpty() {
        if buffer.readableBytes == 0 { buffer = ByteBuffer() }
    }
}

extension ByteBuffer {
    /// Overwrites the readable bytes with zeros, in place, also where other buffers share them.
    ///
    /// NIO reads into pooled buffers that live as long as their connection; a plaintext would stay in them until the next
    /// request. Writing through the buffer would copy it first, so this goes past copy-on-write: only for bytes that
    /// nobody reads any more.
    public func zeroize() {
        withUnsafeReadableBytes { csystem_zeroize($0.baseAddress, $0.count) }
    }
}
