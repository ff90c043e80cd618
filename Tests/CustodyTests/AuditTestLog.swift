import ByteEncoding

@testable import Custody

/// A token's audit key without a token: a keyed hash.
struct FakeAuditKey {
    let id = KeyID(newFor: 1)
    private let secret = (0..<32).map { _ in UInt8.random(in: .min ... .max) }

    func mac(_ message: [UInt8]) -> [UInt8] { AuditChain.hash(after: secret, message) }

    func word(_ checkpoint: AuditCheckpoint) -> AuditVerifier.Word {
        guard checkpoint.keyID == id.bytes else { return .unknownKey }
        return mac(checkpoint.message) == checkpoint.mac ? .genuine : .forged
    }
}

/// An audit log in memory, built line by line as a daemon writes it.
struct AuditTestLog {
    let key: FakeAuditKey
    var log = (0..<16).map { _ in UInt8.random(in: .min ... .max) }
    /// Lines with their line feeds, by file.
    private(set) var files: [[[UInt8]]] = [[]]
    private(set) var sequence: UInt64 = 0
    private(set) var hashes: [[UInt8]] = [AuditChain.origin]
    private(set) var checkpoints: [AuditCheckpoint] = []
    var second: Int64 = 1_790_000_000

    init(key: FakeAuditKey = FakeAuditKey()) { self.key = key }

    var lines: [[UInt8]] { files.flatMap { $0 } }
    var previous: String { hexadecimal(hashes[hashes.count - 1]) }

    /// One with its beginning.
    static func begun(key: FakeAuditKey = FakeAuditKey()) -> AuditTestLog {
        var log = AuditTestLog(key: key)
        log.event("log-begins", #""log":"\#(hexadecimal(log.log))""#)
        return log
    }

    /// Members as JSON text.
    mutating func append(_ members: String) {
        sequence += 1
        second += 1
        let time = AuditTime(microseconds: second * 1_000_000 + 123_456)
        let content = Array(#"{"time":"\#(time)","sequence":\#(sequence),\#(members)"#.utf8)
        let hash = AuditChain.hash(after: hashes[hashes.count - 1], content)
        hashes.append(hash)
        files[files.count - 1].append(content + Array(#","hash":"\#(hexadecimal(hash))"}"#.utf8) + [0x0A])
    }

    mutating func event(_ name: String, _ members: String) { append(#""event":"\#(name)",\#(members)"#) }

    mutating func decisions(_ count: Int, _ more: String = "") {
        for _ in 0..<count { append(#""operation":"wrap","key":"payments","uid":1000,"decision":"allowed""# + more) }
    }

    /// - Parameter name: The log that the line names, as a daemon's does.
    mutating func checkpoint(covers: UInt64, key other: FakeAuditKey? = nil, naming name: [UInt8]? = nil) {
        let key = other ?? key
        let hash = hashes[Int(covers)]
        let mac = key.mac(AuditCheckpoint.message(log: log, sequence: covers, hash: hash, keyID: key.id.bytes))
        checkpoints.append(AuditCheckpoint(log: log, sequence: covers, hash: hash, keyID: key.id.bytes, mac: mac))
        let named = name.map { #""log":"\#(hexadecimal($0))","# } ?? ""
        event("checkpoint", named + #""covers":\#(covers),"covered_hash":"\#(hexadecimal(hash))","key_id":"\#(key.id)","mac":"\#(hexadecimal(mac))""#)
    }

    mutating func continues() { event("log-continues", #""log":"\#(hexadecimal(log))","previous":"\#(previous)""#) }

    mutating func rotate() {
        files.append([])
        continues()
    }

    /// Two files, a restart in the second, three checkpoints; the last of them is the log's last line but `after`.
    static func sample(key: FakeAuditKey = FakeAuditKey(), after: Int = 0) -> AuditTestLog {
        var log = begun(key: key)
        log.decisions(1)
        log.checkpoint(covers: 2)
        log.decisions(1)
        log.rotate()
        log.decisions(1)
        log.checkpoint(covers: 5)
        log.continues()
        log.decisions(1)
        log.checkpoint(covers: 8)
        log.decisions(after)
        return log
    }

    // MARK: Verifying

    /// The newest checkpoint, anchored.
    var anchors: [AuditAnchor] { checkpoints.last.map { [AuditAnchor($0, place: "anchor")] } ?? [] }

    func verify(anchors: [AuditAnchor]? = nil, _ adjust: (inout AuditVerifier.Expectations) -> Void = { _ in }) -> AuditVerification {
        verify(files.map { $0.flatMap { $0 } }, anchors: anchors, adjust)
    }

    /// Verifies other bytes than its own, with its key and its anchors.
    func verify(
        _ files: [[UInt8]], anchors: [AuditAnchor]? = nil, _ adjust: (inout AuditVerifier.Expectations) -> Void = { _ in }
    ) -> AuditVerification {
        var expectations = AuditVerifier.Expectations()
        adjust(&expectations)
        var verifier = AuditVerifier(expectations, anchors: anchors ?? self.anchors)
        let asks = expectations.asksToken
        for (index, file) in files.enumerated() {
            verifier.begin(file: "file\(index + 1)")
            var rest = file[...]
            while !rest.isEmpty {
                let end = rest.firstIndex(of: 0x0A).map { $0 + 1 } ?? rest.endIndex
                verifier.read(rest[..<end]) { asks ? key.word($0) : .notAsked }
                rest = rest[end...]
            }
        }
        return verifier.finish { asks ? key.word($0) : .notAsked }
    }

    /// The lines with all hashes computed anew, also those that lines name: what somebody does who can write the file but
    /// not ask the token.
    static func rechained(_ lines: [[UInt8]], updatesCheckpoints: Bool) -> [[UInt8]] {
        var hashes: [UInt64: [UInt8]] = [:]
        var previous = AuditChain.origin
        return lines.enumerated().map { index, line in
            let old = String(decoding: line, as: UTF8.self)
            var text = old
            let parsed = AuditLine(line[...])
            text.replace(/"sequence":\d+/, with: "\"sequence\":\(index + 1)")
            text.replace(/"previous":"[0-9a-f]+"/, with: "\"previous\":\"\(hexadecimal(previous))\"")
            if updatesCheckpoints, let covers = parsed?.number("covers"), let hash = hashes[covers] {
                text.replace(/"covered_hash":"[0-9a-f]+"/, with: "\"covered_hash\":\"\(hexadecimal(hash))\"")
            }
            let content = Array(text.utf8).dropLast(AuditChain.suffixLength)
            previous = AuditChain.hash(after: previous, content)
            hashes[UInt64(index + 1)] = previous
            return Array(content) + Array(#","hash":"\#(hexadecimal(previous))"}"#.utf8) + [0x0A]
        }
    }
}
