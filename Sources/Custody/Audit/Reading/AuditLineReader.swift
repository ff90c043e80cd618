import Glibc

/// Reads an open file or pipe line by line, in constant memory.
public struct AuditLineReader: ~Copyable {
    /// Why a read failed: the errno.
    public struct Failure: Error, Sendable {
        public let number: Int32

        init() { number = errno }
    }

    private let descriptor: Int32
    /// How many bytes are left to be read; nil for all there are.
    private var remaining: Int?
    private var buffer: [UInt8] = []
    private var start = 0
    private var scanned = 0
    private var isAtEnd = false

    /// - Parameters:
    ///   - descriptor: Is closed with the reader.
    ///   - limit: Reads so many bytes and no more: those that a file had when it was opened, although it grows.
    public init(_ descriptor: Int32, limit: Int? = nil) {
        self.descriptor = descriptor
        remaining = limit
    }

    deinit { close(descriptor) }

    /// The next line with its line feed, which only the last may lack; nil at the end.
    ///
    /// A line that is longer than any of a daemon's comes in parts, which no reader takes for lines.
    public mutating func next() throws(Failure) -> ArraySlice<UInt8>? {
        while true {
            if let feed = buffer[scanned...].firstIndex(of: 0x0A) { return take(feed + 1) }
            scanned = buffer.count
            if scanned - start > AuditLine.longest { return take(scanned) }
            if isAtEnd { return start < scanned ? take(scanned) : nil }
            try fill()
        }
    }

    private mutating func take(_ end: Int) -> ArraySlice<UInt8> {
        defer {
            start = end
            scanned = end
        }
        return buffer[start..<end]
    }

    private mutating func fill() throws(Failure) {
        buffer.removeSubrange(..<start)
        scanned -= start
        start = 0
        let room = min(262_144, remaining ?? .max)
        let old = buffer.count
        var count = 0
        if room > 0 {
            buffer.append(contentsOf: repeatElement(0, count: room))
            repeat {
                count = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress.map { $0 + old }, room) }
            } while count < 0 && errno == EINTR
            let failure = count < 0 ? Failure() : nil
            buffer.removeSubrange((old + max(0, count))...)
            if let failure { throw failure }
        }
        if let remaining { self.remaining = remaining - count }
        if count == 0 { isAtEnd = true }
    }
}
