import ByteEncoding

/// Lines of the log that are being made, each chained to the one before.
///
/// What a line says is made before, by whoever has it to say and without the log's lock. Here it gets its time, its number and
/// its hash; every byte of it is copied once.
package struct ChainedLines {
    package private(set) var bytes: [UInt8] = []
    /// The number and hash of the last line.
    package private(set) var sequence: UInt64
    package private(set) var hash: [UInt8]
    private let beginning: [UInt8]

    /// - Parameter capacity: For how many bytes there shall be room from the beginning.
    package init(after sequence: UInt64, _ hash: [UInt8], time: String, capacity: Int) {
        self.sequence = sequence
        self.hash = hash
        beginning = Array("{\"time\":\"\(time)\",\"sequence\":".utf8)
        bytes.reserveCapacity(capacity)
    }

    /// - Parameter content: The members behind time and number, each with its comma before it.
    mutating func append(_ content: AuditLine.Content) {
        let start = bytes.count
        bytes.append(contentsOf: beginning)
        bytes.appendDecimal(sequence + 1)
        bytes.append(contentsOf: content.bytes)
        hash = AuditChain.hash(after: hash, bytes[start...])
        bytes.append(contentsOf: AuditChain.hashField)
        bytes.appendHexadecimal(hash)
        bytes.append(contentsOf: AuditChain.lineEnd)
        sequence += 1
    }

    package mutating func append(_ event: AuditEvent) { append(event.content) }
}
