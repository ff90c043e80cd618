import ByteEncoding
import Custody
import Foundation

/// Lines of the audit log: what is read as one is JSON to others too, and whatever stands in a line that we write, it is read
/// back as it was.
enum AuditLineTarget: FuzzTarget {
    static let name = "audit-line"

    static func run(_ bytes: [UInt8]) throws {
        try read(bytes)
        try write(bytes.text)
        if let time = AuditTime(bytes.text) {
            try require(AuditTime(time.description) == time, "the time reads differently the second time: \(time)")
        }
    }

    private static func read(_ bytes: [UInt8]) throws {
        guard let line = AuditLine(bytes[...]) else { return }
        try require(line.sequence > 0, "sequence 0")
        _ = (line.scalars(except: ["time"]), line.texts("context"), line.number("covers"), line.bytes("hash"))
        // Foundation looks closer at what does not concern the log: halves of characters, numbers too large for it.
        guard !bytes.contains(UInt8(ascii: "\\")), !bytes.contains(where: { "eE.".utf8.contains($0) }) || !hasLongNumber(bytes) else { return }
        let object = try? JSONSerialization.jsonObject(with: Data(line.bytes))
        try require(object is [String: Any], "it is no JSON object")
    }

    private static func hasLongNumber(_ bytes: [UInt8]) -> Bool {
        bytes.split { !"+-.0123456789eE".utf8.contains($0) }.contains { $0.count > 15 || $0.contains { "eE".utf8.contains($0) } }
    }

    private static func write(_ text: String) throws {
        var lines = ChainedLines(after: 6, AuditChain.origin, time: "2026-11-21T08:15:30.123456Z", capacity: 0)
        lines.append(AuditEvent("key", [("key", .text(text)), ("uses", .number(UInt64(text.utf8.count)))]))
        let bytes = lines.bytes
        try require(bytes.firstIndex(of: 0x0A) == bytes.count - 1, "it is not one line")
        try require(bytes.allSatisfy { $0 == 0x0A || $0 >= 0x20 && $0 != 0x7F }, "it has control characters")
        guard let line = AuditLine(bytes[...]), let (content, hash) = AuditChain.split(bytes[...]) else {
            throw Violation(description: "it is not read back")
        }
        try require(AuditChain.hash(after: AuditChain.origin, content) == hash && hash == lines.hash, "it has another hash")
        try require(line.sequence == 7 && line.event == "key" && line.number("uses") == UInt64(text.utf8.count), "it says something else")
        try require(line.text("key")?.utf8.elementsEqual(text.utf8) == true, "the text is another")
        let object = try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any]
        try require((object?["key"] as? String)?.utf8.elementsEqual(text.utf8) == true, "others read another text")
    }
}
