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
    func anchor(_ sequence: UInt64, log: [UInt8]) throws {
        try StateAnchor(stateDirectory).write(
            AuditCheckpoint(
                log: log, sequence: sequence, hash: [UInt8](repeating: 7, count: 32), keyID: [UInt8](repeating: 1, count: 16),
                mac: [UInt8](repeating: 2, count: 32)))
    }
}

extension AuditRecord {
    static func example(
        _ outcome: AuditRecord.Outcome = .allowed(rule: "custody.toml:1"), key: String? = "root",
        context: EncryptionContext? = nil
    ) -> AuditRecord {
        AuditRecord(
            operation: .wrap, keyName: key, keyID: nil, principal: .owner, connection: 3, request: 9, item: 1, context: context,
            onBehalfOf: .empty, outcome: outcome, latencyMicroseconds: 12)
    }
}

extension AuditTrail {
    /// The log that its first line names.
    var log: [UInt8] { (lines.first?["log"] as? String).flatMap { AuditChain.bytes(lowercaseHexadecimal: Array($0.utf8)) } ?? [] }
}
