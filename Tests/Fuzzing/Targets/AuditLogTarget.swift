import ByteEncoding
import Crypto
import Custody
import Foundation
import Glibc

/// Whole audit logs, of one file or of several with ``SeedLog/fileSeparator`` between them: no bytes but a chain are called
/// whole, and none but those of the log that the token vouched for pass as it.
enum AuditLogTarget: FuzzTarget {
    static let name = "audit-log"

    static func run(_ bytes: [UInt8]) throws {
        try verify(bytes)
        // A change would mostly end at its hash; who forges computes those anew.
        try verify(SeedLog.resealed(bytes))
    }

    private static func verify(_ bytes: [UInt8]) throws {
        guard bytes.count <= 65_536 else { return }
        let files = bytes.split(separator: SeedLog.fileSeparator, omittingEmptySubsequences: false).map { Array($0) }
        let chain = try report(files) {
            $0.asksToken = false
            $0.fromStart = true
        }
        if chain.isWhole { try require(isChain(files), "called whole, and is no chain") }
        _ = try report(files) {
            $0.asksToken = false
            $0.beginsAnywhere = true
        }
        let proven = try report(files) { $0.fromStart = true }
        if proven.isWhole {
            try require(bytes.filter { $0 != SeedLog.fileSeparator }.starts(with: SeedLog.shared.covered), "another log passed as the token's")
        }
    }

    private static func report(
        _ files: [[UInt8]], _ adjust: (inout AuditVerifier.Expectations) -> Void
    ) throws -> AuditVerification {
        var expectations = AuditVerifier.Expectations()
        adjust(&expectations)
        let asks = expectations.asksToken
        let ask: (AuditCheckpoint) -> AuditVerifier.Word = { asks ? SeedLog.word($0) : .notAsked }
        var verifier = AuditVerifier(expectations, anchors: asks ? SeedLog.shared.anchor.map { [$0] } ?? [] : [])
        for (index, file) in files.enumerated() {
            verifier.begin(file: "file\(index + 1)")
            for line in try lines(file) { verifier.read(line[...], ask: ask) }
        }
        let report = verifier.finish(ask: ask)
        let feeds = UInt64(files.joined().count { $0 == 0x0A })
        try require(report.lines <= feeds, "\(report.lines) lines in \(feeds)")
        try require(report.verifiedCheckpoints <= report.checkpoints, "more checkpoints verified than there are")
        try require(report.isWhole || report.problems.allSatisfy { !$0.message.isEmpty }, "a problem without words")
        return report
    }

    /// As the reader of files gives them.
    private static func lines(_ file: [UInt8]) throws -> [[UInt8]] {
        var ends: [CInt] = [-1, -1]
        // No more than a pipe holds.
        guard file.count <= 65_536, pipe(&ends) == 0 else { throw Violation(description: "there is no pipe for \(file.count) bytes") }
        let count = file.withUnsafeBytes { Glibc.write(ends[1], $0.baseAddress, $0.count) }
        close(ends[1])
        var reader = AuditLineReader(ends[0], limit: file.count)
        try require(count == file.count, "the pipe did not take \(file.count) bytes")
        var lines: [[UInt8]] = []
        while let line = try reader.next() { lines.append(Array(line)) }
        try require(Array(lines.joined()) == file, "the reader changes lines")
        try require(lines.dropLast().allSatisfy { $0.last == 0x0A && $0.count { $0 == 0x0A } == 1 }, "a line is not one")
        return lines
    }

    /// Whether it is a chain from its beginning, found out in another way than the verifier's.
    private static func isChain(_ files: [[UInt8]]) -> Bool {
        var previous = [UInt8](repeating: 0, count: 32)
        var count: UInt64 = 0
        for file in files {
            guard file.last == 0x0A else { return false }
            for line in file.dropLast().split(separator: 0x0A, omittingEmptySubsequences: false) {
                let text = Array(line)
                guard text.count > 75, let object = try? JSONSerialization.jsonObject(with: Data(text)) as? [String: Any] else { return false }
                count += 1
                let content = text.dropLast(75)
                let hash = Array(SHA256.hash(data: previous + content))
                guard object["sequence"] as? UInt64 == count, text.suffix(75).elementsEqual(#","hash":"\#(hexadecimal(hash))"}"#.utf8)
                else { return false }
                previous = hash
            }
        }
        return count > 0
    }
}
