import Foundation

/// One line of the audit log as it is read back: what every line has, and any other member by its name.
public struct AuditLine: Sendable {
    /// More than the longest line that a daemon writes: two contexts of the largest size, every byte of them escaped.
    public static let longest = 1 << 20

    /// The JSON object, without the line feed.
    public let bytes: ArraySlice<UInt8>
    public let time: AuditTime
    public let sequence: UInt64
    /// The name of the event; nil for a decision.
    public let event: String?

    /// - Parameter line: With or without its line feed.
    /// - Returns: nil unless it is one JSON object in UTF-8 with the time and the sequence that every line has.
    public init?(_ line: ArraySlice<UInt8>) {
        bytes = line.last == 0x0A ? line.dropLast() : line
        if bytes.contains(where: { $0 >= 0x80 }), String(validating: bytes, as: UTF8.self) == nil { return nil }
        var time: AuditTime?
        var sequence: UInt64?
        var event: String?
        var scanner = JSONScanner(bytes)
        let isObject = scanner.object { name, value in
            // The first counts where a name stands twice; the hash is over the bytes, whatever they say.
            if time == nil, name.elementsEqual("\"time\"".utf8) {
                time = Self.text(value).flatMap(AuditTime.init)
            } else if sequence == nil, name.elementsEqual("\"sequence\"".utf8) {
                sequence = Self.number(value)
            } else if event == nil, name.elementsEqual("\"event\"".utf8) {
                event = Self.text(value) ?? ""
            }
        }
        guard isObject, scanner.isAtEnd, let time, let sequence, sequence > 0 else { return nil }
        self.time = time
        self.sequence = sequence
        self.event = event
    }

    /// A member that is text; nil if there is none.
    public func text(_ name: String) -> String? { value(name).flatMap(Self.text) }

    /// A member that is a whole number of 64 bits.
    public func number(_ name: String) -> UInt64? { value(name).flatMap(Self.number) }

    /// A member that is bytes in lower-case hexadecimal digits.
    public func bytes(_ name: String) -> [UInt8]? {
        text(name).flatMap { AuditChain.bytes(lowercaseHexadecimal: Array($0.utf8)) }
    }

    /// A member that is an object of texts, such as a context, in the order in which it stands there.
    public func texts(_ name: String) -> [(key: String, value: String)] {
        guard let value = value(name) else { return [] }
        var entries: [(key: String, value: String)] = []
        var scanner = JSONScanner(value)
        _ = scanner.object { name, value in
            if let key = Self.text(name), let text = Self.text(value) { entries.append((key, text)) }
        }
        return entries
    }

    /// Members that are text or numbers, in the order in which they stand there, for people.
    public func scalars(except names: Set<String>) -> [(name: String, value: String)] {
        var scalars: [(name: String, value: String)] = []
        var scanner = JSONScanner(bytes)
        _ = scanner.object { name, value in
            guard let name = Self.text(name), !names.contains(name) else { return }
            if let text = Self.text(value) ?? Self.number(value).map({ String($0) }) { scalars.append((name, text)) }
        }
        return scalars
    }

    private func value(_ wanted: String) -> ArraySlice<UInt8>? {
        var found: ArraySlice<UInt8>?
        var scanner = JSONScanner(bytes)
        _ = scanner.object { name, value in
            if found == nil, name.dropFirst().dropLast().elementsEqual(wanted.utf8) { found = value }
        }
        return found
    }

    // MARK: Values

    private static func text(_ value: ArraySlice<UInt8>) -> String? {
        guard value.count >= 2, value.first == UInt8(ascii: "\"") else { return nil }
        let content = value.dropFirst().dropLast()
        guard content.contains(UInt8(ascii: "\\")) else { return String(decoding: content, as: UTF8.self) }
        return try? JSONDecoder().decode(String.self, from: Data(value))
    }

    private static func number(_ value: ArraySlice<UInt8>) -> UInt64? {
        UInt64(String(decoding: value, as: UTF8.self))
    }
}

extension AuditLine {
    /// The number of a line, which stands right behind its time; nil if it does not. Much quicker than reading it whole.
    static func sequence(of line: ArraySlice<UInt8>) -> UInt64? {
        let name = Array(",\"sequence\":".utf8)
        let head = line.prefix(80)
        guard let comma = head.firstIndex(of: UInt8(ascii: ",")), head[comma...].starts(with: name) else { return nil }
        let digits = head[(comma + name.count)...].prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        return UInt64(String(decoding: digits, as: UTF8.self)).flatMap { AuditLine.numbers.contains($0) ? $0 : nil }
    }

    /// The numbers that a line can have; a greater one was not written by a daemon, and could not be counted on from.
    static let numbers: ClosedRange<UInt64> = 1...(1 << 62)
}
