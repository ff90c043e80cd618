/// Lines of the log that are being made, each chained to the one before.
package struct ChainedLines {
    package private(set) var bytes: [UInt8] = []
    /// The number and hash of the last line.
    package private(set) var sequence: UInt64
    package private(set) var hash: [UInt8]
    private let time: String

    package init(after sequence: UInt64, _ hash: [UInt8], time: String, capacity: Int) {
        self.sequence = sequence
        self.hash = hash
        self.time = time
        bytes.reserveCapacity(capacity)
    }

    mutating func append(_ record: AuditRecord) {
        let start = bytes.count
        record.appendLine(to: &bytes, time: time, sequence: sequence + 1)
        chain(from: start)
    }

    package mutating func append(_ event: AuditEvent) {
        let start = bytes.count
        let lines = bytes
        bytes = []
        var json = JSONLine(consume lines)
        json.field("time", time)
        json.field("sequence", sequence + 1)
        json.field(event)
        bytes = json.closed()
        chain(from: start)
    }

    /// Puts the hash at the end of the line that begins there.
    private mutating func chain(from start: Int) {
        // The brace and the line feed.
        bytes.removeLast(2)
        hash = AuditChain.hash(after: hash, bytes[start...])
        bytes.append(contentsOf: AuditChain.hashField)
        let digits = StaticString("0123456789abcdef")
        digits.withUTF8Buffer { digits in
            for byte in hash {
                bytes.append(digits[Int(byte >> 4)])
                bytes.append(digits[Int(byte & 15)])
            }
        }
        bytes.append(contentsOf: AuditChain.lineEnd)
        sequence += 1
    }
}
