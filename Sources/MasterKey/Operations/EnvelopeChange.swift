import CustodyClient
import Foundation

/// Puts a tenant's master key into a new envelope, in ten steps that are recorded in the tenant database's journal:
///
/// 1. read the row; 2. open the present envelope; 3. hold the master key in locked memory; 4. make a KMS key; 5. encrypt under
/// it; 6. take the KMS's ciphertext; 7. have `custodyd` wrap it under the root key; 8. take the envelope; 9. prove that it
/// opens to the same master key, and replace the row if nothing has changed it since step 1; 10. schedule the old KMS key's
/// deletion, so that old backups of the database are dead.
///
/// The process may be killed at any moment: the row always holds an envelope that opens, and every KMS key that was asked for
/// is recorded. Running the same change again goes on where it stopped. Two runs at once: one is turned away; and should the
/// lock be lost (a database server that restarts loses it), the journal takes no further word from a run that was overtaken.
public struct EnvelopeChange: Sendable {
    /// What is to be done. A choice that is nil is the journal's if it has an unfinished operation, else the usual one.
    public struct Request: Sendable {
        public static let usualDeletionDays = 30

        public let tenant: TenantName
        public let kind: OperationRecord.Kind
        /// The root key to wrap under; for other changes than enabling, the one that the row names.
        public let rootKey: String?
        /// The waiting period of the old KMS key's deletion, 7 to 30 days.
        public let deletionDays: Int?
        /// Whether the old KMS key is scheduled for deletion, as it usually is. If not, old backups of the row stay readable by
        /// the KMS alone.
        public let retiresOldKey: Bool?

        public init(
            _ kind: OperationRecord.Kind, tenant: TenantName, rootKey: String? = nil, deletionDays: Int? = nil,
            retiresOldKey: Bool? = nil
        ) {
            self.tenant = tenant
            self.kind = kind
            self.rootKey = rootKey
            self.deletionDays = deletionDays
            self.retiresOldKey = retiresOldKey
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

    /// Asked when an unfinished operation was begun with other choices than the request's: whether these are to hold from now
    /// on. Nothing was changed yet, and nothing is if the answer is no.
    public typealias Confirmation = @Sendable (_ changes: [ChangedChoice]) async throws(MasterKeyError) -> Bool

    let database: any TenantDatabase
    let kms: any KeyManagementService
    let rootKey: RootKeyService
    let opener: EnvelopeOpener
    let pins: TenantPins
    let onStep: Observer
    let confirm: Confirmation

    /// - Parameter confirm: By default nobody confirms.
    public init(
        database: any TenantDatabase, kms: any KeyManagementService, custody: CustodyClient, pins: TenantPins = TenantPins(),
        onStep: @escaping Observer = { (_, _) async throws(MasterKeyError) in },
        confirm: @escaping Confirmation = { _ async throws(MasterKeyError) in false }
    ) {
        self.database = database
        self.kms = kms
        self.pins = pins
        self.confirm = confirm
        self.onStep = onStep
        rootKey = RootKeyService(custody)
        opener = EnvelopeOpener(rootKey: rootKey, kms: kms, pins: pins)
    }

    /// - Throws: ``MasterKeyError``; its `state` says how the tenant was left, its `advice` what to do. Running it again
    ///   finishes the job.
    public func run(_ request: Request) async throws(MasterKeyError) -> Outcome {
        try await database.exclusively(request.tenant) { () async throws(MasterKeyError) in try await runExclusively(request) }
    }

    /// Has KMS keys deleted that earlier runs asked for without hearing of them, and cleans the database's files of old
    /// envelopes once more.
    ///
    /// - Returns: What is to be known about it.
    public func settle(_ tenant: TenantName) async throws(MasterKeyError) -> [String] {
        try await database.exclusively(tenant) { () async throws(MasterKeyError) in
            let record = try await database.existingRecord(of: tenant)
            var notes: [String] = []
            for operation in try await database.operations(of: tenant).map(\.operation) where operation.lostCreations > 0 {
                var entry = JournalEntry(operation, database)
                notes += try await settle(&entry, record)
            }
            return notes + (await scrub(tenant))
        }
    }

    private func runExclusively(_ request: Request) async throws(MasterKeyError) -> Outcome {
        let record = try await database.existingRecord(of: request.tenant)
        // Before anything follows from it: for a row that somebody has put there no KMS key must die.
        guard record.tag != nil else { throw record.notAccepted }
        try pins.check(record)
        var notes: [String] = []
        if let unfinished = try await database.unfinishedOperation(of: request.tenant) {
            var entry = JournalEntry(unfinished, database)
            if unfinished.isOvertaken(by: record) {
                notes = try await giveWay(&entry, record)
            } else {
                let authentication: RowAuthentication?
                do throws(MasterKeyError) {
                    authentication = unfinished.isReplaced ? try await self.authentication(of: unfinished, record) : nil
                } catch {
                    throw error.code == .journalAltered ? error : unfinished.explain(error, record)
                }
                try await take(request, &entry, authentication)
                return try await goOn(&entry, record)
            }
        }
        if request.kind == .enable, record.isEnabled {
            try checkRootKey(request, record)
            return Outcome(result: .alreadyDone, record: record, notes: notes)
        }
        var entry = JournalEntry(try OperationRecord(request, record), database)
        try await entry.begin()
        var outcome = try await goOn(&entry, record)
        outcome.notes = notes + outcome.notes
        return outcome
    }

    /// Goes on with an operation as it was begun. Where a later run is told otherwise, that has to be confirmed, and is written
    /// down before anything follows from it.
    private func take(_ request: Request, _ entry: inout JournalEntry, _ authentication: RowAuthentication?) async throws(MasterKeyError) {
        let changes = try entry.operation.changes(by: request)
        guard !changes.isEmpty || entry.operation.retiresOldKey == nil else { return }
        if !changes.isEmpty { guard try await confirm(changes) else { throw entry.operation.unconfirmed(changes) } }
        entry.operation.apply(request)
        if let authentication { entry.operation.tag = authentication.tag(of: entry.operation) }
        try await entry.save()
    }

    /// Opens the row that an operation has put in place, and sees by its master key that nobody else has written the entry: a
    /// KMS key is deleted by its word.
    ///
    /// - Throws: `journal-altered`.
    func authentication(of operation: OperationRecord, _ record: TenantRecord) async throws(MasterKeyError) -> RowAuthentication {
        let authentication = RowAuthentication(by: try await opener.open(record))
        // An older release's entry has no tag, and does not say what becomes of the old key: an operator has to.
        let isOld = operation.tag == nil && operation.retiresOldKey == nil
        guard isOld || authentication.isAuthentic(operation) else {
            throw MasterKeyError(
                .journalAltered, "the journal's unfinished operation of tenant \(record.tenant) is not as it was written: its tag does not fit",
                state: "nothing was changed by this run, and no KMS key was deleted",
                advice: "restore the journal from a backup, or see what KMS keys it names (`custody-mek status \(record.tenant)`) and which of them are yours")
        }
        return authentication
    }

    /// A tenant that is enabled under another root key than the one that is asked for is not "already done".
    private func checkRootKey(_ request: Request, _ record: TenantRecord) throws(MasterKeyError) {
        guard let wanted = request.rootKey, case .rootKeyOverKMS(let name, _) = record.layers, !name.utf8.elementsEqual(wanted.utf8) else { return }
        throw MasterKeyError(
            .choiceChanged, "tenant \(request.tenant) is enabled under root key '\(name)', not '\(wanted)'; nothing was changed",
            advice: "leave --root-key out to see that nothing is left to do; there is no change from one root key to another")
    }

    private func goOn(_ entry: inout JournalEntry, _ record: TenantRecord) async throws(MasterKeyError) -> Outcome {
        var current = record
        var notes: [String] = []
        do throws(MasterKeyError) {
            if !entry.operation.isReplaced { current = try await replaceEnvelope(&entry, record) }
            // Also for an earlier run that was killed before it did.
            notes += await scrub(record.tenant)
            notes += try await retireOldKey(&entry)
        } catch {
            throw entry.saved.explain(error, record)
        }
        if entry.operation.lostCreations > 0 {
            do throws(MasterKeyError) {
                notes += try await settle(&entry, current)
            } catch {
                notes.append("a KMS key that was asked for without an answer could not be looked for, see `custody-mek settle \(record.tenant)`: \(error.message)")
            }
        }
        return Outcome(result: .done, record: current, notes: notes)
    }

    /// What it can't do is a note: the row is replaced, and what lingers dies with the old KMS key.
    private func scrub(_ tenant: TenantName) async -> [String] {
        do throws(MasterKeyError) {
            try await database.scrub()
            return []
        } catch {
            return ["the old envelope may linger in the database's files; `custody-mek settle \(tenant)` tries to clean them once more: \(error.message)"]
        }
    }
}
