import ByteEncoding
import Foundation
import MasterKey
import ToolSupport

/// A tenant as commands show it.
struct TenantView: Encodable {
    struct RootKey: Encodable {
        let name: String
        let version: UInt32
        /// CKA_ID of the key object on the token.
        let id: String?
    }
    let tenant: String
    let state: String
    /// From the outside in.
    let layers: [String]
    let masterKeyId: String
    let kmsKey: String
    let kmsContext: [String: String]
    let rootKey: RootKey?
    /// How often the KMS has encrypted the MEK, as far as it is recorded.
    let generation: Int64
    /// Whether the row has a tag. Whether that fits shows when it is opened.
    let hasTag: Bool
    let revision: Int64
    let createdAt: String
    let changedAt: String
    /// How long the present envelope has been in use.
    let ageSeconds: Int
    let lastOpenedAt: String?
    let unfinishedOperation: OperationView?

    init(_ record: TenantRecord, unfinished: OperationRecord? = nil) {
        tenant = record.tenant.description
        switch record.layers {
        case .kms:
            layers = ["kms"]
            rootKey = nil
        case .rootKeyOverKMS(let name, let version):
            layers = ["root-key", "kms"]
            rootKey = RootKey(name: name, version: version, id: record.rootKeyID.map(hexadecimal))
        }
        state = unfinished.map { Self.state(record, $0) } ?? (record.isEnabled ? "enabled" : "kms-only")
        masterKeyId = record.masterKeyID.description
        kmsKey = record.kmsKey.rawValue
        kmsContext = record.kmsContext
        generation = record.generation
        hasTag = record.tag != nil
        revision = record.revision
        createdAt = Self.text(record.createdAt)
        changedAt = Self.text(record.changedAt)
        ageSeconds = max(0, Int(Date().timeIntervalSince(record.changedAt)))
        lastOpenedAt = record.lastOpenedAt.map(Self.text)
        unfinishedOperation = unfinished.map { OperationView($0, []) }
    }

    private static func state(_ record: TenantRecord, _ operation: OperationRecord) -> String {
        switch operation.kind {
        case .enable: record.isEnabled ? "enabled, old KMS key not retired yet" : "being enabled"
        case .rotateKMSKey, .refreshKMS: "enabled, KMS rotation unfinished"
        }
    }

    func show(json: Bool, _ title: DisplayText? = nil) throws {
        if json { return try Output.json(self) }
        if let title { Output.say(title) }
        var table = Table(indent: 2)
        table.add("state", state)
        table.add("layers", layers.joined(separator: " over "))
        if let rootKey { table.add("root key", "\(rootKey.name), version \(rootKey.version)" + (rootKey.id.map { ", CKA_ID \($0)" } ?? "")) }
        table.add("KMS key", kmsKey)
        table.add("KMS context", kmsContext.sorted { $0.key < $1.key }.map { "\($0)=\($1)" }.joined(separator: " "))
        table.add("MEK id", masterKeyId)
        table.add("generation", "\(generation)" + (hasTag ? "" : ", not authenticated: see `custody-mek accept`"))
        table.add("created", createdAt)
        table.add("envelope since", "\(changedAt) (\(age))")
        table.add("last opened", lastOpenedAt ?? "never")
        table.show()
        if let unfinishedOperation { Output.say("  unfinished    \(unfinishedOperation.summary)") }
    }

    /// In the largest unit that says something.
    private var age: String {
        switch ageSeconds {
        case ..<120: "\(ageSeconds) s"
        case ..<7_200: "\(ageSeconds / 60) min"
        case ..<172_800: "\(ageSeconds / 3_600) h"
        default: "\(ageSeconds / 86_400) days"
        }
    }

    static func text(_ date: Date) -> String { date.formatted(.iso8601) }
}
