import Custody
import CustodyProtocol
import Foundation
import Fuzzing
import NIOCore
import PKCS11
import SwiftProtobuf
import Testing

/// Writes the seeds that the code itself makes, after a change of a format: `CUSTODY_WRITE_SEEDS=Tests/Fuzzing/Corpus swift test
/// --filter SeedTests`. The others were written by hand, or by a daemon.
@Suite(.enabled(if: ProcessInfo.processInfo.environment["CUSTODY_WRITE_SEEDS"] != nil))
struct SeedTests {
    private let folder = ProcessInfo.processInfo.environment["CUSTODY_WRITE_SEEDS"] ?? ""

    private func write(_ target: String, _ name: String, _ bytes: some Sequence<UInt8>) throws {
        let directory = URL(fileURLWithPath: folder).appendingPathComponent(target)
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        try Data(bytes).write(to: directory.appendingPathComponent(name))
    }

    private static let pairs = [("tenant", "acme"), ("region", "eu")].map { pair in
        WirePair.with { ($0.key, $0.value) = pair }
    }

    private static let kinds: [(name: String, kind: WireOperation.OneOf_Kind)] = [
        ("wrap", .wrap(.with { ($0.keyName, $0.plaintext, $0.context) = ("payments", Data("secret".utf8), pairs) })),
        ("unwrap", .unwrap(.with { ($0.blob, $0.context) = (Data(blob), pairs) })),
        ("rewrap", .rewrap(.with { ($0.blob, $0.context) = (Data(blob), pairs) })),
        ("generate-data-key", .generateDataKey(.with { ($0.keyName, $0.length, $0.withoutPlaintext) = ("payments", 64, true) })),
        ("encrypt", .encrypt(.with { ($0.keyName, $0.plaintext, $0.aad) = ("payments", Data("secret".utf8), Data("aad".utf8)) })),
        ("decrypt", .decrypt(.with {
            ($0.keyID, $0.nonce, $0.tag) = (Data(blob[6..<22]), Data(blob[22..<34]), Data(blob.suffix(16)))
            ($0.ciphertext, $0.aad) = (Data("text".utf8), Data("aad".utf8))
        })),
        ("status", .status(WireStatus())),
        ("metrics", .metrics(WireMetrics())),
        ("reload", .reload(WireReload())),
        ("disconnect", .disconnect(.with { $0.uid = 1_000 })),
    ]

    private static let blob = Array("CTDY".utf8) + [1, 1] + KeyID(newFor: 1).bytes + [UInt8](repeating: 7, count: 12 + 6 + 16)

    private static func request(_ kinds: [WireOperation.OneOf_Kind]) throws -> [UInt8] {
        let request = WireRequest.with {
            $0.operations = kinds.map { kind in .with { $0.kind = kind } }
            $0.deadlineMs = 1_000
            $0.onBehalfOf = pairs
        }
        return try request.serializedBytes()
    }

    @Test func frames() throws {
        var stream = ByteBuffer()
        for (number, kind) in Self.kinds.enumerated() {
            try Frame.write(requestID: UInt32(number), body: Self.request([kind.kind]), to: &stream)
        }
        Frame.write(requestID: 99, body: [], to: &stream)
        for piece in [0, 1, 12, 200] as [UInt8] { try write("frames", "requests-in-pieces-\(piece)", [piece] + Array(stream.readableBytesView)) }
        var large = ByteBuffer()
        Frame.write(requestID: 1, body: [UInt8](repeating: 1, count: 200), to: &large)
        Frame.write(requestID: 2, body: [UInt8](repeating: 2, count: 201), to: &large)
        try write("frames", "longest-then-too-long", [64] + Array(large.readableBytesView))
        try write("frames", "other-version", [0, 0x43, 0x44, 2, 0, 0, 0, 0, 0, 0, 0, 0, 7])
        try write("frames", "other-flags", [5, 0x43, 0x44, 1, 1, 0, 0, 0, 0, 0, 0, 0, 7])
        try write("frames", "http", [9] + Array("GET / HTTP/1.1\r\n\r\n".utf8))
    }

    @Test func requests() throws {
        for (name, kind) in Self.kinds { try write("requests", name, Self.request([kind])) }
        try write("requests", "batch", Self.request(Self.kinds.map(\.kind)))
        try write("requests", "nothing-in-it", WireRequest.with { $0.operations = [WireOperation()] }.serializedBytes() as [UInt8])
        let full = (0..<33).map { number in WirePair.with { $0.key = "k\(number)" } }
        try write("requests", "too-many-entries", WireRequest.with { $0.onBehalfOf = full }.serializedBytes() as [UInt8])
    }

    @Test func envelopes() throws {
        try write("envelope", "blob", Self.blob)
        try write("envelope", "text", Envelope.text(Self.blob).utf8)
        try write("envelope", "text-with-space", " \(Envelope.text(Self.blob))\n".utf8)
        try write("envelope", "empty-plaintext", Self.blob.prefix(50))
        try write("envelope", "cut-off", Self.blob.prefix(49))
        try write("envelope", "other-suite", Array("CTDY".utf8) + [1, 2] + Self.blob.dropFirst(6))
        try write("envelope", "not-canonical", "custody:v1:Q1RE2".utf8)
    }

    @Test func auditLogs() throws {
        try write("audit-log", "two-files-with-restart", SeedLog.shared.bytes)
        let lines = SeedLog.shared.bytes.split(separator: 0x0A).map { Array($0) + [0x0A] }
        for (name, line) in zip(["begins", "key", "checkpoint", "continues"], lines) {
            try write("audit-line", name, line.filter { $0 != SeedLog.fileSeparator })
        }
    }

    @Test func state() throws {
        if let anchor = SeedLog.shared.anchor { try write("state", "anchor", anchor.checkpoint.text.utf8) }
        try write("state", "end-of-log", SeedLog.shared.bytes.suffix(900).filter { $0 != SeedLog.fileSeparator } + Array("{\"time\":\"2026".utf8))
    }
}
