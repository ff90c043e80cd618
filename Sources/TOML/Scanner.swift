/// Goes over the bytes of a document and knows where it is.
struct Scanner {
    /// Where something stands.
    struct Place {
        let line: Int
        fileprivate let lineStart: Int
        fileprivate let offset: Int
    }

    private let bytes: [UInt8]
    private var offset = 0
    private var lineStart = 0
    private(set) var line = 1

    /// - Parameter bytes: Checked by ``Characters``.
    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The next byte; nil at the end.
    var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

    var isAtLineEnd: Bool { next == nil || next == UInt8(ascii: "\n") || next == UInt8(ascii: "\r") }

    var place: Place { Place(line: line, lineStart: lineStart, offset: offset) }

    func isNext(_ character: Unicode.Scalar) -> Bool { next == UInt8(ascii: character) }

    func starts(with text: String) -> Bool { bytes[offset...].starts(with: text.utf8) }

    /// Goes on by so many bytes, of which none ends a line.
    mutating func advance(_ count: Int = 1) { offset += count }

    /// Goes over this byte, if it is next.
    mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard isNext(character) else { return false }
        offset += 1
        return true
    }

    /// Goes over a line's end, if it is next.
    mutating func takeLineEnd() -> Bool {
        guard next != nil, isAtLineEnd else { return false }
        // A carriage return never stands alone.
        offset += isNext("\r") ? 2 : 1
        line += 1
        lineStart = offset
        return true
    }

    mutating func take(while condition: (UInt8) -> Bool) -> String {
        let start = offset
        while let byte = next, condition(byte) { offset += 1 }
        return String(decoding: bytes[start..<offset], as: UTF8.self)
    }

    mutating func skipBlanks() {
        while isNext(" ") || isNext("\t") { offset += 1 }
    }

    mutating func skipBlanksAndComment() {
        skipBlanks()
        if isNext("#") { while !isAtLineEnd { offset += 1 } }
    }

    mutating func skipBlanksCommentsAndLineEnds() {
        repeat { skipBlanksAndComment() } while takeLineEnd()
    }

    /// - Parameter place: Where the mistake is; here if it is left out.
    func error(_ message: String, at place: Place? = nil) -> TOMLError {
        let place = place ?? self.place
        let before = bytes[place.lineStart..<place.offset]
        // All bytes but those that continue a character.
        return TOMLError(line: place.line, column: 1 + before.count { $0 & 0xC0 != 0x80 }, message: message)
    }

    /// What is next, for a message. Nothing of a value is quoted: it may be a secret.
    var sight: String {
        guard !isAtLineEnd, let byte = next else { return next == nil ? "the file ends" : "the line ends" }
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): return "there is a digit"
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), 0x80...: return "there is a letter"
        default: return "there is '\(Character(Unicode.Scalar(byte)))'"
        }
    }
}
