import Foundation

/// A run's entry in the journal: as the run has it, and as it was last written.
struct JournalEntry {
    var operation: OperationRecord
    private(set) var saved: OperationRecord
    private let database: any TenantDatabase

    init(_ operation: OperationRecord, _ database: any TenantDatabase) {
        self.operation = operation
        saved = operation
        self.database = database
    }

    mutating func begin() async throws(MasterKeyError) {
        try await database.begin(operation)
        saved = operation
    }

    /// Writes it, unless another run has written it since.
    mutating func save(done step: Step? = nil) async throws(MasterKeyError) {
        if let step { operation.step = step }
        operation.changedAt = Date()
        try await database.update(operation, done: step)
        operation.version += 1
        saved = operation
    }

    /// Writes it together with the row that step 9 puts in place of the present one.
    mutating func saveReplaced(_ record: TenantRecord, by authentication: RowAuthentication) async throws(MasterKeyError) {
        var replaced = operation
        replaced.step = .replaced
        replaced.changedAt = record.changedAt
        replaced.tag = authentication.tag(of: replaced)
        try await database.replace(record, recording: replaced)
        replaced.version += 1
        operation = replaced
        saved = replaced
    }
}

extension OperationRecord {
    var isReplaced: Bool { (step ?? .rowRead) >= .replaced }

    /// Whether something else has changed the row so that there is nothing left to go on with.
    func isOvertaken(by record: TenantRecord) -> Bool {
        isReplaced ? record.kmsKey != newKey : kind == .enable && record.isEnabled
    }

    /// A new one for this row.
    init(_ request: EnvelopeChange.Request, _ record: TenantRecord) throws(MasterKeyError) {
        let rootKey: String
        switch record.layers {
        case .rootKeyOverKMS(let name, _): rootKey = name
        case .kms:
            guard request.kind == .enable, let name = request.rootKey else {
                throw request.kind == .enable
                    ? MasterKeyError(
                        .choiceMissing, "no root key is named to enable tenant \(request.tenant) under, and there is no unfinished operation to go on with",
                        advice: "name it by --root-key")
                    : MasterKeyError(
                        .notEnabled, "tenant \(request.tenant) is encrypted by the KMS alone",
                        advice: "enable its root key by `custody-mek enable \(request.tenant) --root-key NAME`")
            }
            rootKey = name
        }
        let now = Date()
        self.init(
            tenant: request.tenant, kind: request.kind, baseRevision: record.revision, oldKey: record.kmsKey, rootKey: rootKey,
            deletionDays: request.deletionDays ?? EnvelopeChange.Request.usualDeletionDays, retiresOldKey: request.retiresOldKey ?? true,
            startedAt: now, changedAt: now)
    }
}
