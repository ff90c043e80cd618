import Foundation

/// The journal's entry of one change of a tenant's envelope. It holds no key, no ciphertext and nothing else secret.
///
/// It is written before what it tells of is begun, so that a process that is killed leaves nothing unrecorded.
public struct OperationRecord: Sendable, Hashable {
    public enum Kind: String, Sendable {
        /// From the KMS alone to the root key over a fresh KMS key.
        case enable
        /// To a fresh KMS key, the root key over it as before.
        case rotateKMSKey = "rotate-kms-key"
        /// Under the same KMS key anew, so that its newest key material is used.
        case refreshKMS = "refresh-kms"
    }

    public enum State: String, Sendable {
        case unfinished, finished
        /// Something else changed the row, so that there is nothing left to do.
        case superseded
    }

    public let id: Identifier
    public let tenant: TenantName
    /// Grows by one with every writing of the entry; who writes it must have read the one before.
    public var version: Int64
    public let kind: Kind
    public var state: State
    /// The last step that is done.
    public var step: Step?
    /// The row's revision that the change is based on.
    public var baseRevision: Int64
    /// The KMS key that the row had, and that is to be deleted in the end (not so for ``Kind/refreshKMS``), unless other
    /// tenants' rows still need it: then the last of them has it deleted.
    public var oldKey: KMSKeyID
    /// The KMS key that the row gets.
    public var newKey: KMSKeyID?
    /// How often the KMS was asked to make a key of which nothing was heard yet.
    public var lostCreations: Int
    /// When it was last asked so.
    public var lostCreationAt: Date?
    public var rootKey: String
    /// The waiting period of the old key's deletion.
    public var deletionDays: Int
    /// Whether the old key is scheduled for deletion in the end; nil in an entry of an older release, which did not record it.
    public var retiresOldKey: Bool?
    /// What authenticates the KMS keys and choices above once the row is replaced, see ``RowAuthentication``: from then on a key
    /// may be deleted by the entry's word.
    public var tag: [UInt8]?
    public let startedAt: Date
    public var changedAt: Date

    public init(
        id: Identifier = Identifier(), tenant: TenantName, version: Int64 = 1, kind: Kind, state: State = .unfinished, step: Step? = nil,
        baseRevision: Int64, oldKey: KMSKeyID, newKey: KMSKeyID? = nil, lostCreations: Int = 0, lostCreationAt: Date? = nil,
        rootKey: String, deletionDays: Int, retiresOldKey: Bool? = true, tag: [UInt8]? = nil, startedAt: Date, changedAt: Date
    ) {
        self.id = id
        self.tenant = tenant
        self.version = version
        self.kind = kind
        self.state = state
        self.step = step
        self.baseRevision = baseRevision
        self.oldKey = oldKey
        self.newKey = newKey
        self.lostCreations = lostCreations
        self.lostCreationAt = lostCreationAt
        self.rootKey = rootKey
        self.deletionDays = deletionDays
        self.retiresOldKey = retiresOldKey
        self.tag = tag
        self.startedAt = startedAt
        self.changedAt = changedAt
    }

    /// The description of KMS keys that are made for this operation: how one is found whose making was not heard of.
    public var keyDescription: String { "Custody: master key of tenant \(tenant), operation \(id)" }
}

/// The steps of a change, in their order.
public enum Step: Int, Sendable, CaseIterable, Comparable {
    case rowRead = 1
    case decrypted, held, keyCreated, encrypted, ciphertextTaken, wrapped, envelopeTaken, replaced, oldKeyRetired

    public static func < (a: Step, b: Step) -> Bool { a.rawValue < b.rawValue }
}

/// A line of the journal: a step was done.
public struct StepRecord: Sendable, Hashable {
    public let step: Step
    public let at: Date

    public init(step: Step, at: Date) {
        self.step = step
        self.at = at
    }
}
