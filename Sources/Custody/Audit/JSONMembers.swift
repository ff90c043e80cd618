import ByteEncoding

/// Writes members of one JSON object (RFC 8259), each behind a comma. Our own, since a general encoder costs as much as the HSM
/// operation.
struct JSONMembers: ~Copyable {
    private(set) var bytes: [UInt8] = []

    init(capacity: Int) { bytes.reserveCapacity(capacity) }

    mutating func field(_ name: StaticString, _ value: String) {
        self.name(name)
        JSONString.append(value, to: &bytes)
    }

    /// A member of bytes in hexadecimal digits.
    mutating func field(_ name: StaticString, hexadecimal value: [UInt8]) {
        self.name(name)
        bytes.append(UInt8(ascii: "\""))
        bytes.appendHexadecimal(value)
        bytes.append(UInt8(ascii: "\""))
    }

    mutating func field(_ name: StaticString, _ value: UInt64) {
        self.name(name)
        bytes.appendDecimal(value)
    }

    mutating func field(_ name: StaticString, _ values: some Sequence<UInt64>) {
        self.name(name)
        bytes.append(UInt8(ascii: "["))
        var isFirst = true
        for value in values {
            if !isFirst { bytes.append(UInt8(ascii: ",")) }
            isFirst = false
            bytes.appendDecimal(value)
        }
        bytes.append(UInt8(ascii: "]"))
    }

    mutating func field(_ name: StaticString, _ context: EncryptionContext) {
        self.name(name)
        bytes.append(UInt8(ascii: "{"))
        for (index, entry) in context.entries.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            JSONString.append(entry.key, to: &bytes)
            bytes.append(UInt8(ascii: ":"))
            JSONString.append(entry.value, to: &bytes)
        }
        bytes.append(UInt8(ascii: "}"))
    }

    mutating func field(_ name: String, _ value: AuditEvent.Value) {
        bytes.append(UInt8(ascii: ","))
        JSONString.append(name, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
        switch value {
        case .text(let text): JSONString.append(AuditLine.cut(text), to: &bytes)
        case .number(let number): bytes.appendDecimal(number)
        }
    }

    private mutating func name(_ name: StaticString) {
        bytes.append(UInt8(ascii: ","))
        bytes.append(UInt8(ascii: "\""))
        name.withUTF8Buffer { bytes.append(contentsOf: $0) }
        bytes.append(UInt8(ascii: "\""))
        bytes.append(UInt8(ascii: ":"))
    }
}

extension [UInt8] {
    mutating func appendDecimal(_ number: UInt64) {
        var number = number
        let start = count
        repeat {
            append(UInt8(ascii: "0") + UInt8(number % 10))
            number /= 10
        } while number > 0
        self[start...].reverse()
    }
}
