/// What the audit log says of one decision. It never holds a plaintext, a blob, a PIN or key bytes.
public struct AuditRecord: Sendable {
    /// How the operation ended.
    public enum Outcome: Sendable {
        case allowed(rule: String)
        case denied(reason: String)
        /// Allowed, but not done; or not judged at all, if there is no rule.
        case failed(rule: String?, CustodyError)
    }

    public var operation: Operation.Kind?
    public var keyName: String?
    public var keyID: KeyID?
    public var principal: Principal
    /// The principal's connection and the client's request id, with the operation's place in its batch.
    public var connection: UInt64
    public var request: UInt32
    public var item: Int
    public var context: EncryptionContext?
    public var onBehalfOf: EncryptionContext
    public var outcome: Outcome
    /// From the arrival of the request to the writing of this record.
    public var latencyMicroseconds: Int

    /// Appends the record as one line of JSON with its line feed.
    func appendLine(to line: inout [UInt8], time: String, sequence: UInt64) {
        var json = JSONLine(line)
        json.field("time", time)
        json.field("sequence", sequence)
        json.field("operation", operation?.rawValue ?? "unknown")
        if let keyName { json.field("key", keyName) }
        if let keyID {
            json.field("version", UInt64(keyID.version))
            json.field("key_id", keyID.description)
        }
        json.field("uid", UInt64(principal.uid))
        json.field("gids", principal.gids.map { UInt64($0) })
        json.field("pid", UInt64(clamping: principal.pid))
        json.field("connection", connection)
        json.field("request", UInt64(request))
        json.field("item", UInt64(item))
        if let context { json.field("context", context) }
        if !onBehalfOf.entries.isEmpty { json.field("on_behalf_of", onBehalfOf) }
        switch outcome {
        case .allowed(let rule):
            json.field("decision", "allowed")
            json.field("rule", rule)
        case .denied(let reason):
            json.field("decision", "denied")
            json.field("reason", reason)
        case .failed(let rule, let error):
            json.field("decision", rule == nil ? "rejected" : "allowed")
            if let rule { json.field("rule", rule) }
            json.field("error", error.code.rawValue)
            json.field("reason", error.cause ?? error.message)
        }
        json.field("latency_us", UInt64(clamping: latencyMicroseconds))
        line = json.closed()
    }
}

/// Writes one JSON object on one line (RFC 8259). Our own, since a general encoder costs as much as the HSM operation.
private struct JSONLine {
    private var bytes: [UInt8]
    private var isFirst = true

    init(_ prefix: consuming [UInt8]) {
        bytes = prefix
        bytes.append(UInt8(ascii: "{"))
    }

    mutating func field(_ name: StaticString, _ value: String) {
        self.name(name)
        string(value)
    }

    mutating func field(_ name: StaticString, _ value: UInt64) {
        self.name(name)
        number(value)
    }

    mutating func field(_ name: StaticString, _ values: [UInt64]) {
        self.name(name)
        bytes.append(UInt8(ascii: "["))
        for (index, value) in values.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            number(value)
        }
        bytes.append(UInt8(ascii: "]"))
    }

    mutating func field(_ name: StaticString, _ context: EncryptionContext) {
        self.name(name)
        bytes.append(UInt8(ascii: "{"))
        for (index, entry) in context.entries.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            string(entry.key)
            bytes.append(UInt8(ascii: ":"))
            string(entry.value)
        }
        bytes.append(UInt8(ascii: "}"))
    }

    consuming func closed() -> [UInt8] {
        bytes.append(UInt8(ascii: "}"))
        bytes.append(UInt8(ascii: "\n"))
        return bytes
    }

    private mutating func name(_ name: StaticString) {
        if !isFirst { bytes.append(UInt8(ascii: ",")) }
        isFirst = false
        bytes.append(UInt8(ascii: "\""))
        name.withUTF8Buffer { bytes.append(contentsOf: $0) }
        bytes.append(UInt8(ascii: "\""))
        bytes.append(UInt8(ascii: ":"))
    }

    private mutating func number(_ value: UInt64) {
        var value = value
        let start = bytes.count
        repeat {
            bytes.append(UInt8(ascii: "0") + UInt8(value % 10))
            value /= 10
        } while value > 0
        bytes[start...].reverse()
    }

    private mutating func string(_ value: String) {
        let digits = StaticString("0123456789abcdef")
        bytes.append(UInt8(ascii: "\""))
        for byte in value.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0..<0x20, 0x7F:
                bytes.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "u"), UInt8(ascii: "0"), UInt8(ascii: "0")])
                digits.withUTF8Buffer {
                    bytes.append($0[Int(byte >> 4)])
                    bytes.append($0[Int(byte & 15)])
                }
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
