import Foundation
import SecureMemory

/// Steps 1 to 9.
extension EnvelopeChange {
    /// - Returns: The new row.
    func replaceEnvelope(_ entry: inout JournalEntry, _ record: TenantRecord) async throws(MasterKeyError) -> TenantRecord {
        // An earlier run may have been based on another revision.
        entry.operation.baseRevision = record.revision
        entry.operation.oldKey = record.kmsKey
        try await done(.rowRead, &entry, "revision \(record.revision), \(record.blob.count) bytes under \(record.kmsKey)")
        // While nothing secret is held: the search may take long.
        try await findLostKey(&entry)

        let masterKey = try await opener.open(record)
        try await done(.decrypted, &entry, "\(masterKey.count) bytes")
        try await done(.held, &entry, masterKey.isLocked ? "in locked memory" : "in memory that the limit on locked memory lets swap")

        let newKey = try await newKey(&entry)
        let context = record.tenant.encryptionContext
        let ciphertext = try await onceKnown { () async throws(MasterKeyError) in
            try await kms.encrypt(masterKey, under: newKey, context: context)
        }
        try await done(.encrypted, &entry, "under \(newKey)")
        try await done(.ciphertextTaken, &entry, "\(ciphertext.count) bytes")

        var changed = try record.nextGeneration()
        let wrapped = try await rootKey.wrap(ciphertext, under: record.rootKeyName ?? entry.operation.rootKey, for: changed)
        try await done(.wrapped, &entry, "under \(wrapped.layers)")
        try await done(.envelopeTaken, &entry, "\(wrapped.blob.count) bytes")

        changed.layers = wrapped.layers
        changed.blob = wrapped.blob
        changed.kmsKey = newKey
        changed.kmsContext = context
        changed.changedAt = Date()
        let proposed = changed.authenticated(by: masterKey, ciphertext: ciphertext)
        let opened = try await onceKnown { () async throws(MasterKeyError) in try await opener.open(proposed) }
        guard opened.isEqual(to: masterKey) else {
            throw MasterKeyError(
                .proofFailed, "the new envelope of tenant \(record.tenant) opens to another master key than the old one",
                advice: "do not run it again before KMS and HSM are understood: one of them has given a wrong answer")
        }
        try await entry.saveReplaced(proposed, by: RowAuthentication(by: masterKey))
        changed = proposed
        changed.revision += 1
        try pins.note(changed)
        try await onStep(.replaced, "it opens to the same master key; revision \(changed.revision)")
        return changed
    }

    /// Step 4. The KMS is asked only after the journal says so; of a key that was asked for and not heard of, its description
    /// tells.
    private func newKey(_ entry: inout JournalEntry) async throws(MasterKeyError) -> KMSKeyID {
        if entry.operation.kind == .refreshKMS {
            entry.operation.newKey = entry.operation.oldKey
            return entry.operation.oldKey
        }
        if let key = entry.operation.newKey, try await isUsable(key, of: entry.operation) {
            try await done(.keyCreated, &entry, "\(key), made by an earlier run")
            return key
        }
        entry.operation.newKey = nil
        entry.operation.lostCreations += 1
        entry.operation.lostCreationAt = Date()
        try await entry.save()
        let key: KMSKeyID
        do throws(MasterKeyError) {
            key = try await kms.createKey(description: entry.operation.keyDescription)
        } catch {
            if error.code != .kmsAnswerLost, error.code != .cancelled {
                // Surely none was made.
                entry.operation.lostCreations -= 1
                try await entry.save()
            }
            throw error
        }
        entry.operation.lostCreations -= 1
        entry.operation.newKey = key
        try await done(.keyCreated, &entry, "\(key)")
        return key
    }

    /// Whether a key that an earlier run made can be gone on with; false if it is deleted or about to be.
    private func isUsable(_ key: KMSKeyID, of operation: OperationRecord) async throws(MasterKeyError) -> Bool {
        let found: KMSKeyDescription
        do throws(MasterKeyError) {
            found = try await onceKnown { () async throws(MasterKeyError) in try await kms.describe(key.rawValue) }
        } catch {
            guard error.code == .kmsKeyNotFound, Date().timeIntervalSince(operation.changedAt) > Self.cloudSettles else { throw error }
            return false
        }
        // Anything may stand in the journal; the KMS says for what a key was made.
        guard found.description.utf8.elementsEqual(operation.keyDescription.utf8) else {
            throw MasterKeyError(
                .journalAltered, "KMS key \(key), which the journal names as made for tenant \(operation.tenant), was made for something else",
                advice: "restore the journal from a backup; who wrote this into it may own that key")
        }
        switch found.state {
        case .enabled: return true
        case .pendingDeletion: return false
        case .disabled, .unavailable:
            throw MasterKeyError(
                .kmsKeyDisabled, "KMS key \(key), which an earlier run made, is \(found.state.rawValue)",
                advice: "enable it, or schedule its deletion so that another one is made")
        }
    }

    /// A cloud that has made a key may not know it everywhere for some seconds.
    func onceKnown<R>(_ call: () async throws(MasterKeyError) -> R) async throws(MasterKeyError) -> R {
        for pause in [200, 500, 1_000, 2_000, 4_000] {
            do throws(MasterKeyError) {
                return try await call()
            } catch {
                guard error.code == .kmsKeyNotFound else { throw error }
            }
            do { try await Task.sleep(for: .milliseconds(pause)) } catch { throw MasterKeyError(.cancelled, "cancelled") }
        }
        return try await call()
    }

    func done(_ step: Step, _ entry: inout JournalEntry, _ detail: String) async throws(MasterKeyError) {
        try await entry.save(done: step)
        try await onStep(step, detail)
    }
}
