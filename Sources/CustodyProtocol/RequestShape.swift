/// How much a request holds, counted in its bytes without decoding it.
///
/// A body of 2 MiB can hold a million empty messages, for each of which a decoder allocates; counting passes over contents
/// and stops at the first thing that is too much. It looks into whatever the decoder looks into (``MessageLayout``).
public struct RequestShape: Sendable, Equatable {
    /// Why a body is not decoded.
    public enum Excess: Error, Sendable, Equatable {
        /// It is no protobuf message.
        case malformed
        /// It has more than ``Frame/batchLimit`` operations.
        case operations
        /// Some message of it has more fields than any client has a reason to send.
        case fields
    }

    public private(set) var operations = 0
    /// The bytes of `on_behalf_of`.
    public private(set) var labelBytes = 0

    /// Fields of one message, labels, and fields of all messages together. Generous: how many entries a context may have is
    /// judged when it is decoded.
    private static let fieldsOfMessage = 256
    private static let fieldsOfRequest = 32_768
    /// Fields of the request besides operations and labels: what a newer client adds fits.
    private static let handful = 16

    private var fields = 0

    /// - Parameter body: Of a frame.
    public init(_ body: [UInt8]) throws(Excess) {
        var request = Fields(body, 0..<body.count)
        var labels = 0
        var others = 0
        while let field = try request.next() {
            switch field.number {
            // Of another wire type they are unknown fields.
            case 1 where field.content != nil:
                operations += 1
                guard operations <= Frame.batchLimit else { throw .operations }
            case 3 where field.content != nil:
                labels += 1
                labelBytes += field.content?.count ?? 0
                guard labels <= Self.fieldsOfMessage else { throw .fields }
            default:
                others += 1
                guard others <= Self.handful else { throw .fields }
            }
            try countField(field, of: MessageLayout.request, body)
        }
    }

    private mutating func countMessage(_ content: Range<Int>, _ layout: MessageLayout, _ body: [UInt8]) throws(Excess) {
        var message = Fields(body, content)
        var count = 0
        while let field = try message.next() {
            count += 1
            guard count <= Self.fieldsOfMessage else { throw .fields }
            try countField(field, of: layout, body)
        }
    }

    private mutating func countField(_ field: Fields.Field, of layout: MessageLayout, _ body: [UInt8]) throws(Excess) {
        fields += 1
        guard fields <= Self.fieldsOfRequest else { throw .fields }
        // The decoder looks into no field that it does not know: it keeps the bytes as they are.
        guard let content = field.content, let layout = layout[field.number] else { return }
        try countMessage(content, layout, body)
    }
}

/// The fields of one message, in the wire format of protobuf.
private struct Fields {
    typealias Field = (number: Int, content: Range<Int>?)

    private let bytes: [UInt8]
    private var position: Int
    private let end: Int

    init(_ bytes: [UInt8], _ range: Range<Int>) {
        self.bytes = bytes
        position = range.lowerBound
        end = range.upperBound
    }

    /// The next field, with where its content stands if it has a length; nil at the end.
    mutating func next() throws(RequestShape.Excess) -> Field? {
        guard position < end else { return nil }
        let tag = try varint()
        guard let number = Int(exactly: tag >> 3), number > 0, number < 1 << 29 else { throw .malformed }
        switch tag & 7 {
        case 0:
            _ = try varint()
            return (number, nil)
        case 1:
            try skip(8)
            return (number, nil)
        case 2:
            let length = try varint()
            let start = position
            guard let length = Int(exactly: length) else { throw .malformed }
            try skip(length)
            return (number, start..<position)
        case 5:
            try skip(4)
            return (number, nil)
        // Groups nest; nothing of this protocol uses them.
        default: throw .malformed
        }
    }

    private mutating func skip(_ count: Int) throws(RequestShape.Excess) {
        guard count <= end - position else { throw .malformed }
        position += count
    }

    private mutating func varint() throws(RequestShape.Excess) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while position < end, shift < 70 {
            let byte = bytes[position]
            position += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        throw .malformed
    }
}
