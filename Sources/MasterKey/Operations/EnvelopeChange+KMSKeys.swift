import Foundation

/// What becomes of KMS keys that are not needed any more: step 10, and keys that nobody heard of or uses.
extension EnvelopeChange {
    /// How long a cloud may take, in seconds, to show everywhere a key that it has made: more than any was seen to.
    static let cloudSettles: TimeInterval = 3_600

    // MARK: Step 10

    /// - Returns: What is to be known if the key stays.
    func retireOldKey(_ entry: inout JournalEntry) async throws(MasterKeyError) -> [String] {
        let oldKey = entry.operation.oldKey
        guard entry.operation.kind != .refreshKMS, oldKey != entry.operation.newKey else {
            return try await finish(&entry, [])
        }
        guard entry.operation.retiresOldKey == true else {
            return try await finish(&entry, [
                "KMS key \(oldKey) was left as it is, as asked for; old backups of this tenant's row open by the KMS alone as long as it lives"
            ])
        }
        let others = try await database.tenants(under: oldKey)
        guard others.isEmpty else {
            let names = others.prefix(5).map(\.description).joined(separator: ", ") + (others.count > 5 ? ", ..." : "")
            return try await finish(&entry, [
                "KMS key \(oldKey) still encrypts other tenants (\(names)) and was not scheduled for deletion: the last of them to leave it has that done; until then old backups of this tenant's row open by the KMS alone"
            ])
        }
        if let doubt = try await doubt(besides: entry.operation.tenant) { return try await finish(&entry, [Self.kept(oldKey, doubt)]) }
        // Asked of a KMS that does not hold our keys at all, "not found" would pass for "deleted".
        if let newKey = entry.operation.newKey {
            _ = try await onceKnown { () async throws(MasterKeyError) in try await kms.describe(newKey.rawValue) }
        }
        try await kms.scheduleDeletion(of: oldKey, afterDays: entry.operation.deletionDays)
        entry.operation.state = .finished
        try await done(.oldKeyRetired, &entry, "\(oldKey) is of no use any more and will be deleted in \(entry.operation.deletionDays) days")
        return []
    }

    private func finish(_ entry: inout JournalEntry, _ notes: [String]) async throws(MasterKeyError) -> [String] {
        entry.operation.state = .finished
        try await entry.save()
        return notes
    }

    // MARK: Keys that nobody uses

    /// Ends an operation that something else has overtaken: its keys go, unless a row needs them.
    func giveWay(_ entry: inout JournalEntry, _ record: TenantRecord) async throws(MasterKeyError) -> [String] {
        // The old key only if the row was replaced and its deletion asked for, by the operation's own word.
        let operation = entry.operation
        var keys: [KMSKeyID] = []
        if operation.isReplaced, operation.retiresOldKey == true, operation.oldKey != record.kmsKey {
            _ = try await authentication(of: operation, record)
            keys.append(operation.oldKey)
        }
        if let newKey = operation.newKey, newKey != record.kmsKey, try await isMade(newKey, by: operation) { keys.append(newKey) }
        var notes: [String] = []
        if !keys.isEmpty {
            // The row says which key is in use: it must be the tenant's.
            _ = try await opener.open(record)
            let doubt = try await doubt(besides: operation.tenant)
            for key in keys {
                guard try await database.tenants(under: key).isEmpty else { continue }
                if let doubt {
                    notes.append(Self.kept(key, doubt))
                } else {
                    try await kms.scheduleDeletion(of: key, afterDays: operation.deletionDays)
                }
            }
        }
        entry.operation.state = .superseded
        try await entry.save()
        return notes + ["something else has changed the row of tenant \(record.tenant) since operation \(entry.operation.id) began, which is given up"]
    }

    /// Whether the KMS has made this key for the operation: anything may stand in the journal.
    private func isMade(_ key: KMSKeyID, by operation: OperationRecord) async throws(MasterKeyError) -> Bool {
        do throws(MasterKeyError) {
            return try await kms.describe(key.rawValue).description.utf8.elementsEqual(operation.keyDescription.utf8)
        } catch {
            guard error.code == .kmsKeyNotFound else { throw error }
            return false
        }
    }

    /// Goes on with a key that an earlier run asked for and did not hear of, if there is one.
    func findLostKey(_ entry: inout JournalEntry) async throws(MasterKeyError) {
        guard entry.operation.newKey == nil, entry.operation.lostCreations > 0 else { return }
        guard let found = try await unusedKeys(of: entry.operation).first else { return }
        entry.operation.lostCreations -= 1
        entry.operation.newKey = found
        try await entry.save()
    }

    /// Looks for keys that were asked for and not heard of, and has those deleted that came to be.
    ///
    /// - Parameter record: The tenant's row, which tells by its tag which key is in use.
    func settle(_ entry: inout JournalEntry, _ record: TenantRecord) async throws(MasterKeyError) -> [String] {
        var notes: [String] = []
        let unused = try await unusedKeys(of: entry.operation).filter { $0 != record.kmsKey }
        if !unused.isEmpty { try await requireAuthentic(entry.operation, record) }
        for key in unused {
            try await kms.scheduleDeletion(of: key, afterDays: entry.operation.deletionDays)
            entry.operation.lostCreations = max(0, entry.operation.lostCreations - 1)
            notes.append("KMS key \(key) was made for an earlier run and is not used; its deletion is scheduled")
        }
        if let asked = entry.operation.lostCreationAt, Date().timeIntervalSince(asked) > Self.cloudSettles {
            entry.operation.lostCreations = 0
        }
        if entry.operation.lostCreations > 0 {
            notes.append("the KMS was asked for a key and did not answer, and shows none yet: run `custody-mek settle \(entry.operation.tenant)` in an hour, so that one that shows up late is deleted")
        }
        try await entry.save()
        return notes
    }

    /// Sees that the row is the tenant's, and the entry that has replaced it nobody else's, before a key counts as unused.
    private func requireAuthentic(_ operation: OperationRecord, _ record: TenantRecord) async throws(MasterKeyError) {
        let authentication = RowAuthentication(by: try await opener.open(record))
        // One that did not get so far has no tag: only the row's key is in use then.
        guard operation.isReplaced || operation.state == .finished else { return }
        guard authentication.isAuthentic(operation) else {
            throw MasterKeyError(
                .journalAltered, "operation \(operation.id) of tenant \(record.tenant) in the journal is not as it was written: its tag does not fit",
                state: "no KMS key was deleted for it",
                advice: "restore the journal from a backup; a key that was made for the operation and is surely unused can be deleted in the KMS itself")
        }
    }

    /// The living keys that were made for an operation, and that neither a row nor the journal names.
    private func unusedKeys(of operation: OperationRecord) async throws(MasterKeyError) -> [KMSKeyID] {
        let named = Set(try await database.operations(of: operation.tenant).compactMap(\.operation.newKey))
        var unused: [KMSKeyID] = []
        for key in try await kms.keys(describedAs: operation.keyDescription) where !named.contains(key) {
            guard try await kms.describe(key.rawValue).state == .enabled else { continue }
            if try await database.tenants(under: key).isEmpty { unused.append(key) }
        }
        return unused
    }
}
