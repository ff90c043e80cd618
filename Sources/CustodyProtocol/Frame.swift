import CSystemShim
import NIOCore

/// One frame: a fixed header of 12 bytes, then a protobuf message.
///
/// | offset | bytes | what |
/// |---|---|---|
/// | 0 | 2 | magic `CD` (0x43 0x44) |
/// | 2 | 1 | protocol version, 1 |
/// | 3 | 1 | flags, 0 |
/// | 4 | 4 | length of the body, big-endian |
/// | 8 | 4 | request id, big-endian: chosen by the client, repeated in the answer |
public struct Frame: Sendable, Equatable {
    public static let magic: UInt16 = 0x4344
    public static let protocolVersion: UInt8 = 1
    public static let headerLength = 12
    /// The longest body of a request.
    public static let requestLimit = 2 * 1_024 * 1_024
    /// The longest body of a response: whatever answers the longest request fits.
    public static let responseLimit = 4 * 1_024 * 1_024
    /// The most operations of one request.
    public static let batchLimit = 256

    public let requestID: UInt32
    public let body: ByteBuffer

    public init(requestID: UInt32, body: ByteBuffer) {
        self.requestID = requestID
        self.body = body
    }

    /// Appends a frame with this body.
    public static func write(requestID: UInt32, body: [UInt8], to buffer: inout ByteBuffer) {
        buffer.reserveCapacity(minimumWritableBytes: headerLength + body.count)
        buffer.writeMultipleIntegers(magic, protocolVersion, UInt8(0), UInt32(body.count), requestID)
        buffer.writeBytes(body)
    }
}

/// Why a byte stream can't be read as frames any further. The connection is of no use afterwards.
public enum FrameError: Error, Sendable, Equatable {
    /// The bytes are no frame of this protocol.
    case notAFrame
    /// The header is a frame's, but of a protocol version or with flags that are not known.
    case unsupported(version: UInt8, flags: UInt8, requestID: UInt32)
    /// The body would be longer than allowed.
    case tooLarge(length: Int, limit: Int, requestID: UInt32)
}

/// Cuts a byte stream into frames.
public struct FrameParser {
    private var buffer = ByteBuffer()
    private let limit: Int

    /// - Parameter limit: The longest body that is accepted.
    public init(limit: Int) { self.limit = limit }

    /// How much memory the parser holds, for tests.
    var capacity: Int { buffer.capacity }

    public mutating func append(_ bytes: inout ByteBuffer) {
        if buffer.readableBytes == 0 {
            buffer = bytes
        } else {
            // A client that always leaves half a frame behind must not make the buffer keep all that it ever sent.
            buffer.discardReadBytes()
            buffer.writeBuffer(&bytes)
        }
    }

    /// The next whole frame; nil if more bytes are needed. A header is judged as soon as it is there, so that nobody's
    /// length makes the parser wait for a body that it would not accept.
    public mutating func next() throws(FrameError) -> Frame? {
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
        guard buffer.readableBytes >= Frame.headerLength + Int(length) else { return nil }
        buffer.moveReaderIndex(forwardBy: Frame.headerLength)
        guard let body = buffer.readSlice(length: Int(length)) else { return nil }
        return Frame(requestID: requestID, body: body)
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
