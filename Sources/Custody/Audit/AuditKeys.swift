import ByteEncoding
import PKCS11

/// The audit keys of a token, and what only bears their label.
///
/// On many tokens anybody can make a public object without the PIN, of a value that he knows and with any label. Who believes it
/// has checkpoints signed with it, or believes a forged log. So a key counts only if it passes the same proof as a root key:
/// private, sensitive and never extractable since it was made on this token, and not to be taken out by trying.
public struct AuditKeys: Sendable {
    /// An object with an audit key's label that is not believed.
    public struct Stranger: Sendable, Hashable {
        /// Its CKA_ID, whatever its form.
        public let id: [UInt8]
        public let reason: String

        /// How sentences name it, with the reason.
        public var text: String {
            "an object '\(AuditKey.label)' (CKA_ID \(id.isEmpty ? "empty" : hexadecimal(id.prefix(32)))) is not believed: \(reason)"
        }
    }

    /// The oldest first.
    public let believed: [AuditKey]
    public let strangers: [Stranger]

    public var newest: AuditKey? { believed.last }

    public init(_ session: borrowing Session) throws(PKCS11Error) {
        var trials = TrialMemory()
        try self.init(session, &trials)
    }

    /// - Parameter trials: What was tried through this connection; an object that is new to it is tried now.
    init(_ session: borrowing Session, _ trials: inout TrialMemory) throws(PKCS11Error) {
        defer { trials.endLook(session) }
        var believed: [AuditKey] = []
        var strangers: [Stranger] = []
        for object in try session.objects(.secretKey, matching: [.bool(.token, true), .label(AuditKey.label)]) {
            let attributes: AttributeSet
            do throws(PKCS11Error) {
                attributes = try session.attributes(of: object, ProofOfCustody.attributeTypes)
            } catch {
                switch Fault(error) {
                case .objectGone: continue  // removed between the search and the reading
                case .connection, .session, .pin: throw error
                case .data, .ambiguous, .objectForbidden, .unsupported:
                    strangers.append(Stranger(id: [], reason: "its attributes can't be read (\(error))"))
                    continue
                }
            }
            let idBytes = attributes.bytes(.id) ?? []
            guard let id = KeyID(idBytes), id.version > 0 else {
                strangers.append(Stranger(id: idBytes, reason: "its CKA_ID is not one that `custodyctl audit init` makes"))
                continue
            }
            var objections = attributes.isKeyType(.genericSecret) ? [] : ["it is no CKK_GENERIC_SECRET"]
            objections += ProofOfCustody.objections(attributes, .auditKey)
            guard objections.isEmpty else {
                strangers.append(Stranger(id: idBytes, reason: objections.joined(separator: "; ")))
                continue
            }
            let trial = try trials.trial(of: object, id, session)
            objections = trial.objections(isExtractable: attributes.bool(.extractable))
            guard objections.isEmpty else {
                strangers.append(Stranger(id: idBytes, reason: objections.joined(separator: "; ")))
                continue
            }
            believed.append(AuditKey(id: id, object: object, trial: trial, isLocal: attributes.bool(.local)))
        }
        // Two of one number have their ids to tell which counts, so that everybody picks the same.
        self.believed = believed.sorted { hexadecimal($0.id.bytes) < hexadecimal($1.id.bytes) }
        self.strangers = strangers.sorted { (hexadecimal($0.id), $0.reason) < (hexadecimal($1.id), $1.reason) }
    }

    /// What to say of a key of this id that is not believed; nil if no object has it.
    public func objection(to id: [UInt8]) -> String? { strangers.first { $0.id == id }?.reason }

    /// All that is not believed, in a sentence; nil if there is nothing. Anybody may have made any number.
    public var remark: String? {
        guard !strangers.isEmpty else { return nil }
        let shown = strangers.prefix(3).map(\.text)
        let rest = strangers.count - shown.count
        return shown.joined(separator: "; ") + (rest > 0 ? "; and \(rest) more" : "")
    }
}
