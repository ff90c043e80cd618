import ByteEncoding
import Foundation
import SecureMemory

/// A file of AWS's tools: sections of `name = value`.
///
/// Read byte by byte and not as text, since every string of it would leave a copy of the secrets behind. Read as AWS's
/// tools do: names in any case, comments after `#` or `;` at the beginning of a line or after white space, settings below
/// an empty one indented (these are passed over).
struct ProfileFile {
    /// What makes a file unreadable. Says the line's number and not what it holds.
    struct Malformed: Error {
        let line: Int
        let why: String
    }

    typealias Section = [String: SecretBytes]

    private var sections: [String: Section] = [:]

    /// - Returns: nil if there is no such file.
    static func read(_ path: String) throws -> ProfileFile? {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        var content = try Data(contentsOf: URL(fileURLWithPath: path))
        let bytes = [UInt8](content)
        content.resetBytes(in: 0..<content.count)
        defer { bytes.zeroize() }
        return try ProfileFile(bytes)
    }

    init(_ bytes: [UInt8]) throws(Malformed) {
        let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
        var current: String?
        var isBelowEmptySetting = false
        let text = bytes.starts(with: mark) ? bytes[mark.count...] : bytes[...]
        for (index, raw) in text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            let line = Self.trimmed(Self.withoutComment(raw))
            guard let first = line.first else { continue }
            guard NotUTF8.first(in: line) == nil else { throw Malformed(line: index + 1, why: "it is not UTF-8 text") }
            if first == UInt8(ascii: "[") {
                guard line.last == UInt8(ascii: "]") else { throw Malformed(line: index + 1, why: "the section's ] is missing") }
                let name = Self.sectionName(line.dropFirst().dropLast())
                sections[name] = sections[name] ?? [:]
                current = name
                isBelowEmptySetting = false
                continue
            }
            if isBelowEmptySetting, let indent = raw.first, Self.isBlank(indent) { continue }
            guard let current else { throw Malformed(line: index + 1, why: "it belongs to no section") }
            guard let equals = line.firstIndex(of: UInt8(ascii: "=")) else { throw Malformed(line: index + 1, why: "it has no =") }
            let name = String(decoding: Self.trimmed(line[..<equals]), as: UTF8.self).lowercased()
            let value = Self.trimmed(line[line.index(after: equals)...])
            isBelowEmptySetting = value.isEmpty
            sections[current]?[name] = SecretBytes(value)
        }
    }

    subscript(section: String) -> Section? { sections[section] }

    /// `profile x` and `profile "x"` are the same section.
    private static func sectionName(_ bytes: ArraySlice<UInt8>) -> String {
        String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace).joined(separator: " ")
            .replacingOccurrences(of: "\"", with: "")
    }

    private static func withoutComment(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var previous: UInt8?
        for index in line.indices {
            let isMark = line[index] == UInt8(ascii: "#") || line[index] == UInt8(ascii: ";")
            if isMark, previous.map(isBlank) ?? true { return line[..<index] }
            previous = line[index]
        }
        return line
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r")
    }

    private static func trimmed(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var rest = bytes
        while let first = rest.first, isBlank(first) { rest.removeFirst() }
        while let last = rest.last, isBlank(last) { rest.removeLast() }
        return rest
    }
}

extension SecretBytes {
    /// For what is not secret after all, such as a region.
    var text: String {
        let bytes = exposed()
        defer { bytes.zeroize() }
        return String(decoding: bytes, as: UTF8.self)
    }
}
