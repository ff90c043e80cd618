import Custody
import Foundation

/// The lines of an audit log as they stand in its files, and where they are not whole or not chained to the one before.
public struct AuditTrail {
    public let lines: [[String: Any]]
    /// The bytes of each line, its line feed included.
    public let rawLines: [[UInt8]]
    /// What is wrong, in words.
    public let breaks: [String]

    /// - Parameter paths: The files, oldest first.
    public init(_ paths: [String]) throws {
        try self.init(bytes: paths.flatMap { path in try Array(Data(contentsOf: URL(fileURLWithPath: path))) })
    }

    public init(bytes: [UInt8]) {
        var lines: [[String: Any]] = []
        var rawLines: [[UInt8]] = []
        var breaks: [String] = []
        var previous = AuditChain.origin
        var sequence = 0
        for piece in bytes.split(separator: 0x0A) {
            let raw = Array(piece) + [0x0A]
            guard let object = try? JSONSerialization.jsonObject(with: Data(raw)) as? [String: Any],
                let number = object["sequence"] as? Int, let (content, hash) = AuditChain.split(raw[...])
            else {
                breaks.append("no line: \(String(decoding: raw.prefix(200), as: UTF8.self))")
                continue
            }
            if number != sequence + 1 { breaks.append("\(number) follows \(sequence)") }
            if AuditChain.hash(after: previous, content) != hash { breaks.append("\(number) is not chained to the line before") }
            previous = hash
            sequence = number
            lines.append(object)
            rawLines.append(raw)
        }
        if let last = bytes.last, last != 0x0A { breaks.append("half a line at the end") }
        self.lines = lines
        self.rawLines = rawLines
        self.breaks = breaks
    }

    public var decisions: [[String: Any]] { lines.filter { $0["operation"] != nil } }
    /// The names of the events, in their order.
    public var events: [String] { lines.compactMap { $0["event"] as? String } }

    /// Those of the log itself.
    public var ownEvents: [String] { events.filter { $0.hasPrefix("log-") } }

    public func events(named name: String) -> [[String: Any]] { lines.filter { $0["event"] as? String == name } }
}
