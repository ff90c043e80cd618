import Custody

/// What the daemon reads when it starts: counts of uses, an anchor, the end of the audit log.
enum StateTarget: FuzzTarget {
    static let name = "state"

    static func run(_ bytes: [UInt8]) throws {
        if let (usage, _) = try? UsageLedger.decode(bytes, "key-usage.json") {
            // They are counted on from.
            let most = usage.values.map { max($0.uses, $0.rewrapped) }.max() ?? 0
            try require(most < .max, "a count that can't be counted on from")
        }
        let text = bytes.text
        if let checkpoint = AuditCheckpoint(text: text) {
            try require(checkpoint.text.utf8.elementsEqual(text.utf8), "two texts stand for one anchor")
        }
        for isWhole in [true, false] {
            guard let tail = AuditTail(end: bytes, isWhole: isWhole) else {
                try require(!isWhole && !bytes.contains(0x0A), "a line ends in it")
                continue
            }
            try require(tail.tornBytes == bytes.reversed().prefix { $0 != 0x0A }.count, "\(tail.tornBytes) torn bytes")
            guard let line = tail.line else { continue }
            try require(line.hash.count == AuditChain.hashLength, "a hash of \(line.hash.count) bytes")
            try require((1...(1 << 62)).contains(line.sequence), "sequence \(line.sequence)")
        }
    }
}
