/// What is to be remembered of a tenant outside of its database, so that nobody who writes to that can take it back.
struct TenantPin: Sendable, Hashable {
    let masterKeyID: Identifier
    /// nil for a tenant that is not enabled.
    let rootKeyVersion: UInt32?
    let rootKey: String?
    let generation: Int64
    let tag: [UInt8]
    /// nil in what an older release has kept. The tag covers it; with it a row's KMS key is believed without opening the row.
    let kmsKey: KMSKeyID?

    var isEnabled: Bool { rootKey != nil }

    /// Of a row that was proved to open; nil for one without a tag.
    init?(_ record: TenantRecord) {
        guard let tag = record.tag else { return nil }
        masterKeyID = record.masterKeyID
        generation = record.generation
        self.tag = tag
        kmsKey = record.kmsKey
        switch record.layers {
        case .kms: (rootKey, rootKeyVersion) = (nil, nil)
        case .rootKeyOverKMS(let name, let version): (rootKey, rootKeyVersion) = (name, version)
        }
    }

    init(masterKeyID: Identifier, rootKey: String?, rootKeyVersion: UInt32?, generation: Int64, tag: [UInt8], kmsKey: KMSKeyID? = nil) {
        self.masterKeyID = masterKeyID
        self.rootKey = rootKey
        self.rootKeyVersion = rootKeyVersion
        self.generation = generation
        self.tag = tag
        self.kmsKey = kmsKey
    }

    /// Whether both are of the same envelope, the KMS key included.
    func isSameEnvelope(as other: TenantPin) -> Bool {
        guard let kmsKey, let otherKey = other.kmsKey else { return false }
        return masterKeyID == other.masterKeyID && generation == other.generation && tag == other.tag
            && kmsKey.rawValue.utf8.elementsEqual(otherKey.rawValue.utf8)
    }

    /// Whether this is of an older state of the tenant than the other.
    func isOlder(than other: TenantPin) -> Bool {
        if generation != other.generation { return generation < other.generation }
        // Rewrapping changes the version alone.
        guard let version = rootKeyVersion, let later = other.rootKeyVersion else { return false }
        return version < later
    }

    /// - Throws: `master-key-replaced`, `root-key-required` or `row-outdated` if the row takes something back.
    func check(_ record: TenantRecord, keptIn place: String) throws(MasterKeyError) {
        let tenant = record.tenant
        let advice = "if a backup of the row was restored on purpose, vouch for it by `custody-mek accept \(tenant)`; else somebody has changed it: restore the newest backup, and do not seal data before"
        guard record.masterKeyID == masterKeyID else {
            throw MasterKeyError(
                .masterKeyReplaced, "the row of tenant \(tenant) names master key \(record.masterKeyID); \(place) knows it with \(masterKeyID)",
                advice: "restore the row from a backup, and do not seal data before")
        }
        guard record.isEnabled || !isEnabled else {
            throw MasterKeyError(
                .rootKeyRequired, "tenant \(tenant) was enabled, as \(place) knows, and its row says that it is encrypted by the KMS alone", advice: advice)
        }
        if let known = rootKey, let name = record.rootKeyName, !name.utf8.elementsEqual(known.utf8) {
            throw MasterKeyError(
                .rootKeyRequired, "the row of tenant \(tenant) lies under root key '\(name)'; \(place) knows it under '\(known)'", advice: advice)
        }
        guard let found = TenantPin(record), !found.isOlder(than: self) else {
            throw MasterKeyError(
                .rowOutdated, "the row of tenant \(tenant) is an older one (generation \(record.generation)) than \(place) knows (generation \(generation))",
                advice: advice)
        }
        guard found.generation > generation || found.tag == tag else {
            throw MasterKeyError(
                .rowOutdated, "the row of tenant \(tenant) is another one of generation \(generation) than \(place) knows", advice: advice)
        }
        if let kmsKey, found.generation == generation, !kmsKey.rawValue.utf8.elementsEqual(record.kmsKey.rawValue.utf8) {
            throw MasterKeyError(
                .rowAltered, "the row of tenant \(tenant) names KMS key \(record.kmsKey); \(place) knows it under \(kmsKey)",
                advice: "restore the row from a backup; do not seal data before")
        }
    }
}
