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
