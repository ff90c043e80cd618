import ByteEncoding
import Custody

/// An audit log that is always the same, with checkpoints of a key that nobody else has: what is not this log must not pass for
/// it.
public struct SeedLog: Sendable {
    public static let shared = SeedLog()

    /// Between files that are one input: no line of the log has it.
    public static let fileSeparator: UInt8 = 0x1C
    private static let secret = [UInt8](repeating: 0x5A, count: 32)
    private static let keyID = [0, 0, 0, 1] + [UInt8](repeating: 0x4B, count: 12)
    private static let log = (0..<16).map { UInt8($0) }

    /// Two files, separated; a restart in the second.
    public private(set) var bytes: [UInt8] = []
    /// The last of its checkpoints.
    public private(set) var anchor: AuditAnchor?
    /// The lines up to the last that a checkpoint covers, however they are divided into files.
    private(set) var covered: [UInt8] = []
    private var sequence: UInt64 = 0
    private var hashes = [AuditChain.origin]

    private init() {
        event("log-begins", [("log", .text(hexadecimal(Self.log)))])
        event("key", [("key", .text("payments")), ("version", .number(1)), ("from", .text("absent")), ("to", .text("active"))])
        checkpoint()
        bytes.append(Self.fileSeparator)
        continues()
        event("configuration", [("file", .text("/etc/custody/custody.toml")), ("outcome", .text("loaded"))])
        checkpoint()
        continues()
        checkpoint()
        event("key", [("key", .text("payments")), ("version", .number(1)), ("from", .text("active")), ("to", .text("disabled"))])
    }

    /// What the token says of a checkpoint.
    static func word(_ checkpoint: AuditCheckpoint) -> AuditVerifier.Word {
        guard checkpoint.keyID == keyID else { return .unknownKey }
        return mac(checkpoint.message) == checkpoint.mac ? .genuine : .forged
    }

    /// Lines with the hashes that they would have if they were honest, also where they name the hash before them: the work of
    /// somebody who can write the files and not ask the token.
    static func resealed(_ bytes: [UInt8]) -> [UInt8] {
        var previous = AuditChain.origin
        var resealed: [UInt8] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let end = rest.firstIndex(of: 0x0A).map { $0 + 1 } ?? rest.endIndex
            var line = Array(rest[..<end])
            rest = rest[end...]
            let isFirstOfFile = line.first == fileSeparator
            if isFirstOfFile { line.removeFirst() }
            if let (content, _) = AuditChain.split(line[...]) {
                var content = Array(content)
                let member = Array(#""previous":""#.utf8)
                if let start = content.firstIndex(of: member), start + member.count + 64 <= content.count {
                    content.replaceSubrange(start + member.count..<start + member.count + 64, with: hexadecimal(previous).utf8)
                }
                previous = AuditChain.hash(after: previous, content)
                line = content + Array(#","hash":"\#(hexadecimal(previous))"}"#.utf8) + [0x0A]
            }
            resealed += isFirstOfFile ? [fileSeparator] + line : line
        }
        return resealed
    }

    private static func mac(_ message: [UInt8]) -> [UInt8] { AuditChain.hash(after: secret, message) }

    private mutating func event(_ name: String, _ fields: [(String, AuditEvent.Value)]) {
        let time = AuditTime(microseconds: 1_795_248_930_000_000 + Int64(sequence) * 1_000_000)
        var lines = ChainedLines(after: sequence, hashes[hashes.count - 1], time: time.description, capacity: 256)
        lines.append(AuditEvent(name, fields))
        bytes += lines.bytes
        hashes.append(lines.hash)
        sequence = lines.sequence
    }

    private mutating func continues() {
        event("log-continues", [("log", .text(hexadecimal(Self.log))), ("previous", .text(hexadecimal(hashes[hashes.count - 1])))])
    }

    /// Covers all lines so far.
    private mutating func checkpoint() {
        let hash = hashes[hashes.count - 1]
        let message = AuditCheckpoint.message(log: Self.log, sequence: sequence, hash: hash, keyID: Self.keyID)
        let checkpoint = AuditCheckpoint(log: Self.log, sequence: sequence, hash: hash, keyID: Self.keyID, mac: Self.mac(message))
        anchor = AuditAnchor(checkpoint, place: "the anchor")
        covered = bytes.filter { $0 != Self.fileSeparator }
        event(
            "checkpoint",
            [
                ("log", .text(hexadecimal(Self.log))), ("covers", .number(sequence)), ("covered_hash", .text(hexadecimal(hash))),
                ("key_id", .text(hexadecimal(Self.keyID))), ("mac", .text(hexadecimal(checkpoint.mac))),
            ])
    }
}

extension [UInt8] {
    /// Where this first stands.
    func firstIndex(of part: [UInt8]) -> Int? {
        guard let first = part.first else { return nil }
        return indices.first { self[$0] == first && self[$0...].starts(with: part) }
    }
}
