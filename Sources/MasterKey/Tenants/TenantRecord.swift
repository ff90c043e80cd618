import Foundation

/// Which keys have to be asked to open a tenant's master key.
public enum EnvelopeLayers: Sendable, Hashable {
    /// The cloud's KMS alone.
    case kms
    /// The user's root key first, then the cloud's KMS: neither alone opens it.
    case rootKeyOverKMS(name: String, version: UInt32)
}

/// A tenant's row: its encrypted master key and what is needed to open it. Nothing in it is secret.
public struct TenantRecord: Sendable, Hashable {
    public let tenant: TenantName
    /// Names the master key's content, whatever encrypts it; sealed data carry it.
    public let masterKeyID: Identifier
    public var layers: EnvelopeLayers
    /// The encrypted master key: the KMS's ciphertext, or Custody's envelope around it.
    public var blob: [UInt8]
    /// The KMS key of the inner layer.
    public var kmsKey: KMSKeyID
    /// The encryption context that the KMS got with it, for people to see: opening makes its own of the tenant's name. A row
    /// of an older release may have another one, see ``Acceptance``.
    public var kmsContext: [String: String]
    /// Grows by one with every new ciphertext of the KMS's. Part of what the tag and the root key's layer authenticate, so that
    /// an older envelope can't be taken for the present one by whoever has seen that.
    public var generation: Int64
    /// What authenticates the row, see ``RowAuthentication``; nil in one that an older release has written.
    public var tag: [UInt8]?
    /// Grows by one with every change of what stands above; what a change is compared with before it is made.
    public var revision: Int64
    public let createdAt: Date
    public var changedAt: Date
    /// When it was last opened, to the minute.
    public var lastOpenedAt: Date?

    public init(
        tenant: TenantName, masterKeyID: Identifier, layers: EnvelopeLayers, blob: [UInt8], kmsKey: KMSKeyID,
        kmsContext: [String: String], generation: Int64 = 1, tag: [UInt8]? = nil, revision: Int64 = 1, createdAt: Date, changedAt: Date,
        lastOpenedAt: Date? = nil
    ) {
        self.tenant = tenant
        self.masterKeyID = masterKeyID
        self.layers = layers
        self.blob = blob
        self.kmsKey = kmsKey
        self.kmsContext = kmsContext
        self.generation = generation
        self.tag = tag
        self.revision = revision
        self.createdAt = createdAt
        self.changedAt = changedAt
        self.lastOpenedAt = lastOpenedAt
    }

    public var isEnabled: Bool { layers != .kms }

    var rootKeyName: String? {
        guard case .rootKeyOverKMS(let name, _) = layers else { return nil }
        return name
    }

    /// The row with the generation that follows on this one's.
    ///
    /// - Throws: `row-damaged` if none can follow.
    func nextGeneration() throws(MasterKeyError) -> TenantRecord {
        var record = self
        let (next, isTooLarge) = generation.addingReportingOverflow(1)
        guard next > 0, !isTooLarge else {
            throw MasterKeyError(
                .rowDamaged, "the row of tenant \(tenant) has generation \(generation), which none can have",
                advice: "restore the row from a backup")
        }
        record.generation = next
        return record
    }

    /// What binds the root key's layer to the tenant, the master key and the generation: `custodyd` refuses an envelope that was
    /// made for others, and records all three with each opening.
    public var rootKeyContext: [String: String] {
        tenant.encryptionContext.merging(["mek": "\(masterKeyID)", "generation": "\(generation)"]) { _, own in own }
    }

    /// The id (CKA_ID) of the root key's version, as the envelope names it (Envelope.md); nil without that layer.
    public var rootKeyID: [UInt8]? {
        guard isEnabled, blob.starts(with: Array("CTDY".utf8)), blob.count >= 22 else { return nil }
        return Array(blob[6..<22])
    }
}
