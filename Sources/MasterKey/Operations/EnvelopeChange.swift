import CustodyClient
import Foundation
import SecureMemory

/// Puts a tenant's master key into a new envelope, in ten steps that are recorded in the tenant database's journal:
///
/// 1. read the row; 2. open the present envelope; 3. hold the master key in locked memory; 4. make a KMS key; 5. encrypt under
/// it; 6. take the KMS's ciphertext; 7. have `custodyd` wrap it under the root key; 8. take the envelope; 9. prove that it
/// opens to the same master key, and replace the row if nothing has changed it since step 1; 10. schedule the old KMS key's
/// deletion, so that old backups of the database are dead.
///
/// The process may be killed at any moment: the row always holds an envelope that opens, and every KMS key that was asked for
/// is recorded. Running the same change again goes on where it stopped. Two runs at once: one is turned away.
public struct EnvelopeChange: Sendable {
    public struct Request: Sendable {
        public let tenant: TenantName
        public let kind: OperationRecord.Kind
        /// The root key to wrap under; for other changes than enabling, the one that the row names.
        public let rootKey: String?
        /// The waiting period of the old KMS key's deletion, 7 to 30 days.
        public let deletionDays: Int

        public init(_ kind: OperationRecord.Kind, tenant: TenantName, rootKey: String? = nil, deletionDays: Int = 30) {
            self.tenant = tenant
            self.kind = kind
            self.rootKey = rootKey
            self.deletionDays = deletionDays
        }
    }

    /// What a run came to.
    public struct Outcome: Sendable {
        public enum Result: String, Sendable {
            case done
            /// Nothing was to be done: an earlier run, or another's, had finished it.
            case alreadyDone = "already-done"
        }

        public let result: Result
        public let record: TenantRecord
        /// What is to be known although it worked.
        public var notes: [String] = []
    }

    /// Told after each step, when the journal has it. What it throws ends the run, which can be gone on with later.
    public typealias Observer = @Sendable (_ step: Step, _ detail: String) async throws(MasterKeyError) -> Void

    private let database: any TenantDatabase
    private let kms: any KeyManagementService
    private let rootKey: RootKeyService
    private let opener: EnvelopeOpener
    private let onStep: Observer

    public init(
        database: any TenantDatabase, kms: any KeyManagementService, custody: CustodyClient,
        onStep: @escaping Observer = { (_, _) async throws(MasterKeyError) in }
    ) {
        self.database = database
        self.kms = kms
        self.onStep = onStep
        rootKey = RootKeyService(custody)
        opener = EnvelopeOpener(rootKey: rootKey, kms: kms)
    }

    /// - Throws: ``MasterKeyError``; its `state` says how the tenant was left, its `advice` what to do. Running it again
    ///   finishes the job.
    public func run(_ request: Request) async throws(MasterKeyError) -> Outcome {
        try await database.exclusively(request.tenant) { () async throws(MasterKeyError) in try await runExclusively(request) }
    }

    private func runExclusively(_ request: Request) async throws(MasterKeyError) -> Outcome {
        let record = try await database.existingRecord(of: request.tenant)
        let unfinished = try await database.unfinishedOperation(of: request.tenant)
        if unfinished == nil, request.kind == .enable, record.isEnabled {
            return Outcome(result: .alreadyDone, record: record, notes: try await settleLostCreations(of: request.tenant) + scrub())
        }
        var operation = try await operation(for: request, record, unfinished)
        do throws(MasterKeyError) {
            return try await goOn(&operation, record)
        } catch {
            throw operation.explain(error, record)
        }
    }

    /// The journal's entry to go on with, or a new one.
    private func operation(
        for request: Request, _ record: TenantRecord, _ unfinished: OperationRecord?
    ) async throws(MasterKeyError) -> OperationRecord {
        if let unfinished {
            guard unfinished.kind == request.kind else {
                throw MasterKeyError(
                    .operationUnfinished, "tenant \(request.tenant) has an unfinished operation '\(unfinished.kind.rawValue)'",
                    advice: "finish it by `custody-mek \(unfinished.kind.command) \(request.tenant)` first")
            }
            var goingOn = unfinished
            // Until the row is replaced nothing depends on it: a name that was misspelt can be put right.
            if let rootKey = request.rootKey, (unfinished.step ?? .rowRead) < .replaced { goingOn.rootKey = rootKey }
            return goingOn
        }
        let rootKey: String
        switch record.layers {
        case .rootKeyOverKMS(let name, _): rootKey = name
        case .kms:
            guard request.kind == .enable, let name = request.rootKey else {
                throw MasterKeyError(
                    .notEnabled, "tenant \(request.tenant) is encrypted by the KMS alone",
                    advice: "enable its root key by `custody-mek enable \(request.tenant) --root-key NAME`")
            }
            rootKey = name
        }
        let now = Date()
        let operation = OperationRecord(
            tenant: request.tenant, kind: request.kind, baseRevision: record.revision, oldKey: record.kmsKey, rootKey: rootKey,
            deletionDays: request.deletionDays, startedAt: now, changedAt: now)
        try await database.begin(operation)
        return operation
    }

    private func goOn(_ operation: inout OperationRecord, _ record: TenantRecord) async throws(MasterKeyError) -> Outcome {
        var outcome = Outcome(result: .done, record: record)
        if (operation.step ?? .rowRead) < .replaced {
            if operation.kind == .enable, record.isEnabled {
                return try await giveWay(&operation, record)
            }
            outcome = try await replaceEnvelope(&operation, record)
        }
        outcome.notes += try await retireOldKey(&operation)
        if operation.lostCreations > 0 { outcome.notes += try await settle(&operation) }
        return outcome
    }

    // MARK: Steps 1 to 9

    private func replaceEnvelope(_ operation: inout OperationRecord, _ record: TenantRecord) async throws(MasterKeyError) -> Outcome {
        // An earlier run may have been based on another revision.
        operation.baseRevision = record.revision
        operation.oldKey = record.kmsKey
        try await done(.rowRead, &operation, "revision \(record.revision), \(record.blob.count) bytes under \(record.kmsKey)")

        let masterKey = try await opener.open(record)
        try await done(.decrypted, &operation, "\(masterKey.count) bytes")
        try await done(.held, &operation, masterKey.isLocked ? "in locked memory" : "in memory that the limit on locked memory lets swap")

        let newKey = try await newKey(&operation)
        let context = record.tenant.encryptionContext
        let ciphertext = try await onceKnown { () async throws(MasterKeyError) in
            try await kms.encrypt(masterKey, under: newKey, context: context)
        }
        try await done(.encrypted, &operation, "under \(newKey)")
        try await done(.ciphertextTaken, &operation, "\(ciphertext.count) bytes")

        let wrapped = try await rootKey.wrap(ciphertext, under: operation.rootKey, of: record.tenant)
        try await done(.wrapped, &operation, "under \(wrapped.layers)")
        try await done(.envelopeTaken, &operation, "\(wrapped.blob.count) bytes")

        var changed = record
        changed.layers = wrapped.layers
        changed.blob = wrapped.blob
        changed.kmsKey = newKey
        changed.kmsContext = context
        changed.changedAt = Date()
        let proposed = changed
        let opened = try await onceKnown { () async throws(MasterKeyError) in try await opener.open(proposed) }
        guard opened.isEqual(to: masterKey) else {
            throw MasterKeyError(
                .proofFailed, "the new envelope of tenant \(record.tenant) opens to another master key than the old one",
                advice: "do not run it again before KMS and HSM are understood: one of them has given a wrong answer")
        }
        operation.step = .replaced
        operation.changedAt = changed.changedAt
        do throws(MasterKeyError) {
            try await database.replace(changed, recording: operation)
        } catch {
            // It may have been written all the same: what the journal says is asked for again by the next run.
            operation.step = .envelopeTaken
            throw error
        }
        changed.revision += 1
        try await onStep(.replaced, "it opens to the same master key; revision \(changed.revision)")
        return Outcome(result: .done, record: changed, notes: await scrub())
    }

    /// What it can't do is a note: the row is replaced, and what lingers dies with the old KMS key.
    private func scrub() async -> [String] {
        do throws(MasterKeyError) {
            try await database.scrub()
            return []
        } catch {
            return ["the old envelope may linger in the database's files; running this again tries to clean them once more: \(error)"]
        }
    }

    /// Step 4. The KMS is asked only after the journal says so; of a key that was asked for and not heard of, its description
    /// tells.
    private func newKey(_ operation: inout OperationRecord) async throws(MasterKeyError) -> KMSKeyID {
        if operation.kind == .refreshKMS {
            operation.newKey = operation.oldKey
            return operation.oldKey
        }
        if let key = operation.newKey {
            try await done(.keyCreated, &operation, "\(key), made by an earlier run")
            return key
        }
        if operation.lostCreations > 0, let found = try await usableKeys(of: operation).first {
            operation.lostCreations -= 1
            operation.newKey = found
            try await done(.keyCreated, &operation, "\(found), made by an earlier run")
            return found
        }
        operation.lostCreations += 1
        operation.lostCreationAt = Date()
        try await database.update(operation, done: nil)
        let key: KMSKeyID
        do throws(MasterKeyError) {
            key = try await kms.createKey(description: operation.keyDescription)
        } catch {
            if error.code != .kmsAnswerLost, error.code != .cancelled {
                // Surely none was made.
                operation.lostCreations -= 1
                try await database.update(operation, done: nil)
            }
            throw error
        }
        operation.lostCreations -= 1
        operation.newKey = key
        try await done(.keyCreated, &operation, "\(key)")
        return key
    }

    /// A cloud that has made a key may not know it everywhere for some seconds.
    private func onceKnown<R>(_ call: () async throws(MasterKeyError) -> R) async throws(MasterKeyError) -> R {
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

    private func done(_ step: Step, _ operation: inout OperationRecord, _ detail: String) async throws(MasterKeyError) {
        operation.step = step
        operation.changedAt = Date()
        try await database.update(operation, done: step)
        try await onStep(step, detail)
    }

    // MARK: Step 10

    private func retireOldKey(_ operation: inout OperationRecord) async throws(MasterKeyError) -> [String] {
        let oldKey = operation.oldKey
        guard operation.kind != .refreshKMS, oldKey != operation.newKey else {
            try await finish(&operation, .finished)
            return []
        }
        let others = try await database.tenants(under: oldKey)
        guard others.isEmpty else {
            try await finish(&operation, .finished)
            let names = others.prefix(5).map(\.description).joined(separator: ", ") + (others.count > 5 ? ", ..." : "")
            return [
                "KMS key \(oldKey) still encrypts other tenants (\(names)) and was not scheduled for deletion: the last of them to leave it has that done; until then old backups of this tenant's row open by the KMS alone"
            ]
        }
        try await kms.scheduleDeletion(of: oldKey, afterDays: operation.deletionDays)
        operation.state = .finished
        try await done(.oldKeyRetired, &operation, "\(oldKey) will be deleted in \(operation.deletionDays) days")
        return []
    }

    private func finish(_ operation: inout OperationRecord, _ state: OperationRecord.State) async throws(MasterKeyError) {
        operation.state = state
        operation.changedAt = Date()
        try await database.update(operation, done: nil)
    }

    // MARK: KMS keys that nobody uses

    /// Something else has enabled the tenant: the key that was made for it here goes.
    private func giveWay(_ operation: inout OperationRecord, _ record: TenantRecord) async throws(MasterKeyError) -> Outcome {
        if let unused = operation.newKey, unused != record.kmsKey, try await database.tenants(under: unused).isEmpty {
            try await kms.scheduleDeletion(of: unused, afterDays: operation.deletionDays)
        }
        try await finish(&operation, .superseded)
        var notes = ["something else has enabled tenant \(record.tenant) since the operation began"]
        if operation.lostCreations > 0 { notes += try await settle(&operation) }
        return Outcome(result: .alreadyDone, record: record, notes: notes)
    }

    private func settleLostCreations(of tenant: TenantName) async throws(MasterKeyError) -> [String] {
        var notes: [String] = []
        for var operation in try await database.operations(of: tenant).map(\.operation) where operation.lostCreations > 0 {
            notes += try await settle(&operation)
        }
        return notes
    }

    /// Looks for keys that were asked for and not heard of, and has those deleted that came to be.
    private func settle(_ operation: inout OperationRecord) async throws(MasterKeyError) -> [String] {
        var notes: [String] = []
        for key in try await usableKeys(of: operation) where key != operation.newKey {
            try await kms.scheduleDeletion(of: key, afterDays: operation.deletionDays)
            operation.lostCreations = max(0, operation.lostCreations - 1)
            notes.append("KMS key \(key) was made for an earlier run and is not used; its deletion is scheduled")
        }
        // A cloud may show a new key late, but not as late as this.
        if let asked = operation.lostCreationAt, Date().timeIntervalSince(asked) > 3_600 { operation.lostCreations = 0 }
        if operation.lostCreations > 0 {
            notes.append("the KMS was asked for a key and did not answer; none is there yet: run this again in an hour, so that one that shows up late is deleted")
        }
        operation.changedAt = Date()
        try await database.update(operation, done: nil)
        return notes
    }

    private func usableKeys(of operation: OperationRecord) async throws(MasterKeyError) -> [KMSKeyID] {
        var usable: [KMSKeyID] = []
        for key in try await kms.keys(describedAs: operation.keyDescription) {
            if try await kms.describe(key.rawValue).state == .enabled { usable.append(key) }
        }
        return usable
    }
}
