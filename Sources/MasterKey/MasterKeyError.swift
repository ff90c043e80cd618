/// Why the double envelope could not be made, opened or changed.
///
/// The services below (KMS, database, `custodyd`) are translated into it where they are called and nowhere else.
public struct MasterKeyError: Error, Sendable, CustomStringConvertible {
    /// The raw values are stable: programs read them from `custody-mek --json`.
    public enum Code: String, Sendable, CaseIterable {
        // The tenant and its row.
        case invalidTenant = "invalid-tenant"
        case tenantNotFound = "tenant-not-found"
        case tenantExists = "tenant-exists"
        case notEnabled = "not-enabled"
        case rowChanged = "row-changed"
        case rowDamaged = "row-damaged"
        /// The row's tag does not fit it.
        case rowAltered = "row-altered"
        /// The row has no tag: an older release has written it, or somebody has taken the tag away.
        case rowNotAccepted = "row-not-accepted"
        /// The row was the tenant's once, and was replaced since.
        case rowOutdated = "row-outdated"
        case masterKeyReplaced = "master-key-replaced"
        case rootKeyRequired = "root-key-required"
        /// What was seen of tenants can't be kept or looked up.
        case pinsUnusable = "pins-unusable"

        // The change of an envelope.
        case operationUnderWay = "operation-under-way"
        case operationUnfinished = "operation-unfinished"
        /// The entry's tag does not fit it.
        case journalAltered = "journal-altered"
        /// An unfinished operation was begun with other choices.
        case choiceChanged = "choice-changed"
        /// Neither the caller nor the journal says how to go on.
        case choiceMissing = "choice-missing"
        case proofFailed = "proof-failed"

        // The tenant database.
        case databaseAddress = "database-address"
        case databaseUnavailable = "database-unavailable"
        case databaseBusy = "database-busy"
        case databaseDenied = "database-denied"
        case schemaMissing = "schema-missing"
        case schemaUnknown = "schema-unknown"

        // The cloud's KMS.
        case kmsConfiguration = "kms-configuration"
        case kmsCredentials = "kms-credentials"
        case kmsUnavailable = "kms-unavailable"
        /// The KMS may have done what it was asked for, the answer was lost.
        case kmsAnswerLost = "kms-answer-lost"
        case kmsThrottled = "kms-throttled"
        case kmsDenied = "kms-denied"
        case kmsKeyNotFound = "kms-key-not-found"
        case kmsKeyDisabled = "kms-key-disabled"
        case kmsKeyPendingDeletion = "kms-key-pending-deletion"
        case kmsCiphertextRefused = "kms-ciphertext-refused"
        case kmsRefused = "kms-refused"

        // custodyd and the root key.
        case daemonUnavailable = "daemon-unavailable"
        case daemonFailed = "daemon-failed"
        case tokenUnavailable = "token-unavailable"
        case tokenLocked = "token-locked"
        case rootKeyNotFound = "root-key-not-found"
        case rootKeyNotUsable = "root-key-not-usable"
        case rootKeyDenied = "root-key-denied"
        case envelopeRefused = "envelope-refused"

        // Sealed data and the opened key.
        case dataMalformed = "data-malformed"
        case dataUnsupported = "data-unsupported"
        case dataOfAnotherKey = "data-of-another-key"
        case dataAltered = "data-altered"
        case masterKeyDropped = "master-key-dropped"
        case cancelled
    }

    public var code: Code
    /// What happened.
    public var message: String
    /// In which state the tenant is left; nil if nothing was begun.
    public var state: String?
    /// What to do next.
    public var advice: String?
    public var cause: (any Error)?

    public init(_ code: Code, _ message: String, state: String? = nil, advice: String? = nil, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.state = state
        self.advice = advice
        self.cause = cause
    }

    public var description: String {
        var text = message
        if let state { text += "; state: \(state)" }
        if let advice { text += "; next: \(advice)" }
        return text
    }
}
