import ByteEncoding
import Foundation
import TestSupport
import Testing

@testable import Custody

/// An audit log in a folder of one test's own.
struct AuditPlace {
    let directory: TemporaryDirectory
    let path: String
    var stateDirectory: String { directory.file("state") }

    /// - Parameter folder: Where the log's file is, if not beside the state directory.
    init(folder: String? = nil) throws {
        directory = try TemporaryDirectory()
        path = "\(folder ?? directory.path)/audit.jsonl"
    }

    func settings(_ durability: AuditSettings.Durability = .write) -> AuditSettings {
        AuditSettings(file: path, stateDirectory: stateDirectory, durability: durability)
    }

    func open(_ durability: AuditSettings.Durability = .write) throws -> AuditLog { try AuditLog(settings(durability)) }

    /// Opens it, writes so many decisions, and closes it.
    func write(_ count: Int) throws {
        let log = try open()
        defer { log.close() }
        for _ in 0..<count { try log.append([.example()]) }
    }

    func trail(_ names: String...) throws -> AuditTrail { try AuditTrail((names + ["audit.jsonl"]).map { directory.file($0) }) }

    /// An anchor over a line of a log, as the notary leaves it.
    func anchor(_ sequence: UInt64, log: [UInt8], hash: [UInt8] = [UInt8](repeating: 7, count: 32)) throws {
        try StateAnchor(stateDirectory).write(
            AuditCheckpoint(
                log: log, sequence: sequence, hash: hash, keyID: [UInt8](repeating: 1, count: 16),
                mac: [UInt8](repeating: 2, count: 32)))
    }
}

extension AuditRecord {
    static func example(
        _ outcome: AuditRecord.Outcome = .allowed(rule: "custody.toml:1"), key: KeyName? = "root",
        context: EncryptionContext? = nil, onBehalfOf: EncryptionContext = .empty
    ) -> AuditRecord {
        AuditRecord(
            operation: .wrap, keyName: key, keyID: nil, principal: .owner, connection: 3, request: 9, item: 1, context: context,
            onBehalfOf: onBehalfOf, outcome: outcome, latencyMicroseconds: 12)
    }
}

extension AuditTrail {
    /// The hash of a line, from 1.
    func hash(ofLine number: Int) throws -> [UInt8] {
        try #require(AuditChain.split(rawLines[number - 1][...])).hash
    }

    /// The lines with a word replaced in one of them, from 1, and all hashes computed anew: a forger's work.
    func forged(line number: Int, _ old: String, _ new: String) throws -> [UInt8] {
        var previous = AuditChain.origin
        var forged: [UInt8] = []
        for (index, line) in rawLines.enumerated() {
            var content = String(decoding: try #require(AuditChain.split(line[...])).content, as: UTF8.self)
            if index == number - 1 {
                try #require(content.contains(old))
                content = content.replacing(old, with: new)
            }
            previous = AuditChain.hash(after: previous, content.utf8)
            forged += Array(content.utf8) + AuditChain.hashField + Array(hexadecimal(previous).utf8) + AuditChain.lineEnd
        }
        return forged
    }

    /// The log that its first line names.
    var log: [UInt8] { (lines.first?["log"] as? String).flatMap { AuditChain.bytes(lowercaseHexadecimal: Array($0.utf8)) } ?? [] }
}

extension EncryptionContext {
    /// As large as one can be, every byte of which the log escapes with six.
    static let longestInLog: EncryptionContext = {
        func text(_ length: Int, _ number: Int) -> String {
            String(repeating: "\u{1}", count: length - 2) + String(number + 10)
        }
        let entries = (0..<CustodyLimits.contextEntries).map {
            Entry(key: text(CustodyLimits.contextKey, $0), value: text(CustodyLimits.contextValue, $0))
        }
        return (try? EncryptionContext(entries)) ?? .empty
    }()
}
