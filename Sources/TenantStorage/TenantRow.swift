import Foundation
import MasterKey
import PostgreSQL

/// The rows of `custody_tenant`.
enum TenantRow {
    static let columns = [
        "tenant", "master_key_id", "root_key", "root_key_version", "blob", "kms_key", "kms_context", "generation", "tag", "revision",
        "created_at", "changed_at", "last_opened_at",
    ]

    static func read(_ row: [SQLValue]) throws(MasterKeyError) -> TenantRecord {
        let row = RowReader(row, columns: columns)
        return TenantRecord(
            tenant: try row.tenant("tenant"), masterKeyID: try row.identifier("master_key_id"), layers: try layers(row),
            blob: try row.bytes("blob"), kmsKey: try row.key("kms_key"), kmsContext: try row.context("kms_context"),
            generation: try row.integer("generation"), tag: try row.optional("tag", row.bytes), revision: try row.integer("revision"), createdAt: try row.date("created_at"),
            changedAt: try row.date("changed_at"), lastOpenedAt: try row.optional("last_opened_at", row.date))
    }

    private static func layers(_ row: RowReader) throws(MasterKeyError) -> EnvelopeLayers {
        let name = try row.optional("root_key", row.text)
        let version = try row.optional("root_key_version", row.integer)
        switch (name, version) {
        case (nil, nil): return .kms
        case (let name?, let version?):
            guard let version = UInt32(exactly: version) else { throw row.damaged("root_key_version", "is no version") }
            return .rootKeyOverKMS(name: name, version: version)
        case (nil, _): throw row.damaged("root_key", "is empty, though there is a version")
        case (_, nil): throw row.damaged("root_key_version", "is empty, though a root key is named")
        }
    }

    /// `root_key` and `root_key_version`.
    static func values(of layers: EnvelopeLayers) -> [SQLValue] {
        switch layers {
        case .kms: [.null, .null]
        case .rootKeyOverKMS(let name, let version): [.text(name), .integer(Int64(version))]
        }
    }

    /// The keys are sorted, so that the same context is the same text.
    static func text(of context: [String: String]) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Texts can always be encoded; what can't be read back would be found at once.
        return (try? encoder.encode(context)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}
