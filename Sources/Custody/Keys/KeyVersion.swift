import PKCS11

/// One version of a root key: one AES-256 object on the token.
public struct KeyVersion: Sendable {
    /// What a version may be used for; derived from the object's own attributes, so that the token enforces it.
    public enum State: Sendable, Hashable {
        /// Wraps and unwraps (CKA_ENCRYPT and CKA_DECRYPT).
        case active
        /// Unwraps only (CKA_DECRYPT).
        case deactivated
        /// Neither.
        case disabled
        /// Neither, and it may be destroyed after this day, `YYYY-MM-DD` in UTC (CKA_END_DATE).
        case scheduledForDestruction(after: String)
        /// Custody does not use it: the proof of custody failed for this reason.
        case refused(reason: String)

        /// The state that the object's attributes stand for.
        ///
        /// A date alone schedules nothing: only a version that the token says is of no use to anybody may be destroyed.
        init(_ attributes: AttributeSet) {
            self =
                switch (attributes.bool(.encrypt), attributes.bool(.decrypt)) {
                case (true, true): .active
                case (_, true): .deactivated
                case (false, false): attributes.date(.endDate).map { .scheduledForDestruction(after: $0) } ?? .disabled
                default: .disabled
                }
        }

        /// The word by which commands and the audit log speak of it.
        public var word: String {
            switch self {
            case .active: "active"
            case .deactivated: "deactivated"
            case .disabled: "disabled"
            case .scheduledForDestruction: "scheduled-for-destruction"
            case .refused: "refused"
            }
        }

        /// How sentences speak of it.
        public var phrase: String {
            if case .scheduledForDestruction(let day) = self { "scheduled for destruction after \(day)" } else { word }
        }
    }

    /// The root key's name, the object's CKA_LABEL.
    public let name: KeyName
    public let id: KeyID
    public let state: State
    /// Why it is used although the proof of custody failed: an exception in the configuration. nil for a proven key.
    public let exception: String?
    /// What the proof leaves open, although nothing speaks against the key: no trial to take it was refused. nil if one was.
    public let warning: String?
    /// The day on which it was made, `YYYY-MM-DD` in UTC (CKA_START_DATE); nil if the token does not tell.
    public let created: String?
    let object: ObjectHandle

    public var version: UInt32 { id.version }

    init(name: KeyName, id: KeyID, state: State, exception: String? = nil, warning: String? = nil, created: String? = nil, object: ObjectHandle) {
        self.name = name
        self.id = id
        self.state = state
        self.exception = exception
        self.warning = warning
        self.created = created
        self.object = object
    }

    /// How errors name it.
    var title: String { "key '\(name)' version \(version) (CKA_ID \(id))" }
}
