import SwiftProtobuf

/// Which fields of a message are messages themselves, and so make the decoder look into their bytes.
///
/// It is asked of the decoder and not written down here: what is added to custody.proto is in it without being thought of.
final class MessageLayout: Sendable {
    /// Fields with higher numbers are not asked for, nor what is nested deeper than the entries of a context; a test holds
    /// custody.proto against both.
    static let highestNumber = 63
    static let deepest = 3

    static let request = MessageLayout(of: [])

    /// By the field's number; nil for what is no message.
    private let fields: [MessageLayout?]

    /// - Parameter path: The numbers of the fields that lead to it from a request.
    private init(of path: [Int]) {
        fields = (0...Self.highestNumber).map { number in
            let path = path + [number]
            return number > 0 && path.count <= Self.deepest && Self.isMessage(path) ? MessageLayout(of: path) : nil
        }
    }

    subscript(number: Int) -> MessageLayout? { number < fields.count ? fields[number] : nil }

    /// The numbers of the fields that are messages.
    var numbers: [Int] { fields.indices.filter { fields[$0] != nil } }

    private static func isMessage(_ path: [Int]) -> Bool {
        // The tag of a field 0, which no message has. For a string, bytes or an unknown field it is as good as any byte.
        var body: [UInt8] = [0x07]
        for number in path.reversed() {
            let tag = number << 3 | 2
            body = (tag < 0x80 ? [UInt8(tag)] : [UInt8(tag & 0x7F | 0x80), UInt8(tag >> 7)]) + [UInt8(body.count)] + body
        }
        do {
            _ = try WireRequest(serializedBytes: body)
            return false
        } catch {
            return true
        }
    }
}
