import ByteEncoding

/// What the audit log says of one decision. It never holds a plaintext, a blob, a PIN or key bytes.
public struct AuditRecord: Sendable {
    /// How the operation ended.
    public enum Outcome: Sendable {
        case allowed(rule: String)
        case denied(reason: String)
        /// Allowed, but a limit is used up.
        case limited(rule: String, CustodyError)
        /// Allowed, but not done; or not judged at all, if there is no rule.
        case failed(rule: String?, CustodyError)
    }

    public var operation: Operation.Kind?
    public var keyName: KeyName?
    public var keyID: KeyID?
    public var principal: Principal
    /// The principal's connection and the client's request id, with the operation's place in its batch.
    public var connection: UInt64
    public var request: UInt32
    public var item: Int
    public var context: EncryptionContext?
    public var onBehalfOf: EncryptionContext
    /// SHA-256 of the blob that was given or made, so that a blob can be traced; of the raw form's parts in the order key
    /// id, nonce, ciphertext, tag.
    public var blobDigest: [UInt8]?
    /// SHA-256 of the blob that Rewrap made of it.
    public var newBlobDigest: [UInt8]?
    public var outcome: Outcome
    /// From the arrival of the request to the writing of this record.
    public var latencyMicroseconds: Int

    /// What its line says. Made by the thread that has the record, before the log's lock is taken.
    var content: AuditLine.Content {
        var json = JSONMembers(capacity: 448 + (context?.lengthInLine ?? 0) + onBehalfOf.lengthInLine)
        json.field("operation", operation?.rawValue ?? "unknown")
        if let keyName { json.field("key", keyName.description) }
        if let keyID {
            json.field("version", UInt64(keyID.version))
            json.field("key_id", hexadecimal: keyID.bytes)
        }
        json.field("uid", UInt64(principal.uid))
        if let user = principal.user { json.field("user", AuditLine.cut(user)) }
        if let subordination = principal.subordination {
            json.field("account", UInt64(subordination.account))
            if let owner = subordination.ownerName { json.field("owner", AuditLine.cut(owner)) }
        }
        if let group = principal.group { json.field("group", AuditLine.cut(group)) }
        json.field("gids", principal.gids.prefix(AuditLine.mostGroups).lazy.map { UInt64($0) })
        if principal.gids.count > AuditLine.mostGroups {
            json.field("gids_left_out", UInt64(principal.gids.count - AuditLine.mostGroups))
        }
        if let unit = principal.unit { json.field("unit", unit.name) }
        json.field("pid", UInt64(clamping: principal.pid))
        json.field("connection", connection)
        json.field("request", UInt64(request))
        json.field("item", UInt64(item))
        if let context { json.field("context", context) }
        if !onBehalfOf.entries.isEmpty { json.field("on_behalf_of", onBehalfOf) }
        if let blobDigest { json.field("blob_sha256", hexadecimal: blobDigest) }
        if let newBlobDigest { json.field("new_blob_sha256", hexadecimal: newBlobDigest) }
        switch outcome {
        case .allowed(let rule):
            json.field("decision", "allowed")
            json.field("rule", AuditLine.cut(rule))
        case .denied(let reason):
            json.field("decision", "denied")
            json.field("reason", AuditLine.cut(reason))
        case .limited(let rule, let error):
            json.field("decision", "limited")
            json.field("rule", AuditLine.cut(rule))
            json.field("error", error.code.rawValue)
        case .failed(let rule, let error):
            json.field("decision", rule == nil ? "rejected" : "allowed")
            if let rule { json.field("rule", AuditLine.cut(rule)) }
            json.field("error", error.code.rawValue)
            json.field("reason", AuditLine.cut(error.cause ?? error.message))
        }
        json.field("latency_us", UInt64(clamping: latencyMicroseconds))
        return AuditLine.Content(json)
    }
}
