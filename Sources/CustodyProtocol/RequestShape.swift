import ByteEncoding

/// How much a request holds, counted in its bytes without decoding it.
///
/// A body of 2 MiB can hold a million empty messages, for each of which a decoder allocates; counting passes over contents
/// and stops at the first thing that is too much.
public struct RequestShape: Sendable, Equatable {
    /// Why a body is not decoded.
    public enum Excess: Error, Sendable, Equatable {
        /// It is no protobuf message.
        case malformed
        /// It has more than ``Frame/batchLimit`` operations.
        case operations
        /// Some message of it has more fields than any client has a reason to send.
        case fields
        /// Its lines in the audit log would be longer than ``logLimit``.
        case log
    }

    /// How many bytes of the audit log a request can cause, at the most: every operation has a line of its own, with its context
    /// and with the labels of the request.
    public static let logLimit = 1_048_576
    /// What is counted of a line besides its context and the labels.
    public static let lineLength = 512

    public private(set) var operations = 0
    /// The bytes that `on_behalf_of` takes of a line.
    private var labelBytes = 0
    /// The bytes that the contexts take of their lines.
    private var contextBytes = 0

    /// The bytes that the lines of the request take in the audit log, as it writes them: a control character takes six.
    public var logBytes: Int { operations * (Self.lineLength + labelBytes) + contextBytes }

    /// Fields of one operation with its context, of the labels, and of all together. Generous: how many entries a context may
    /// have is judged when it is decoded.
    private static let fieldsOfOperation = 256
    private static let fieldsOfRequest = 32_768
    /// Fields of a message that has a handful: what a newer client adds fits.
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
                try countOperation(body, field.content)
            case 3 where field.content != nil:
                labels += 1
                guard labels <= Self.fieldsOfOperation else { throw .fields }
                labelBytes += try countPair(body, field.content)
                // Not only at the end: what is too much is not counted to its end.
                guard labelBytes <= Self.logLimit else { throw .log }
            default:
                others += 1
                guard others <= Self.handful else { throw .fields }
            }
        }
        guard logBytes <= Self.logLimit else { throw .log }
    }

    private mutating func countOperation(_ body: [UInt8], _ content: Range<Int>?) throws(Excess) {
        guard let content else { return }
        var operation = Fields(body, content)
        var kinds = 0
        while let kind = try operation.next() {
            kinds += 1
            guard kinds <= Self.handful else { throw .fields }
            try countKind(body, kind.number, kind.content)
        }
    }

    private mutating func countKind(_ body: [UInt8], _ number: Int, _ content: Range<Int>?) throws(Excess) {
        // The decoder looks into no kind that it does not know.
        guard let content, (1...8).contains(number) else { return }
        // The field that is the context.
        let context: Int? = switch number {
        case 1: 3
        case 2, 3, 4: 2
        default: nil
        }
        var kind = Fields(body, content)
        var count = 0
        while let field = try kind.next() {
            count += 1
            guard count <= Self.fieldsOfOperation else { throw .fields }
            try countField()
            if field.number == context {
                contextBytes += try countPair(body, field.content)
                guard contextBytes <= Self.logLimit else { throw .log }
            }
        }
    }

    /// - Returns: The bytes that a key and its value take of a line.
    private mutating func countPair(_ body: [UInt8], _ content: Range<Int>?) throws(Excess) -> Int {
        guard let content else { return 0 }
        var pair = Fields(body, content)
        var count = 0
        // Quotes, colon and comma.
        var bytes = 6
        while let field = try pair.next() {
            count += 1
            guard count <= Self.handful else { throw .fields }
            try countField()
            if let text = field.content { bytes += JSONString.length(of: body[text]) }
        }
        return bytes
    }

    private mutating func countField() throws(Excess) {
        fields += 1
        guard fields <= Self.fieldsOfRequest else { throw .fields }
    }
}

/// The fields of one message, in the wire format of protobuf.
private struct Fields {
    private let bytes: [UInt8]
    private var position: Int
    private let end: Int

    init(_ bytes: [UInt8], _ range: Range<Int>) {
        self.bytes = bytes
        position = range.lowerBound
        end = range.upperBound
    }

    /// The next field, with where its content stands if it has a length; nil at the end.
    mutating func next() throws(RequestShape.Excess) -> (number: Int, content: Range<Int>?)? {
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
