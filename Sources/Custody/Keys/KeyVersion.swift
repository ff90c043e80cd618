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
        /// Custody does not use it: the proof of custody failed for this reason.
        case refused(reason: String)

        /// The state that the object's attributes stand for.
        init(_ attributes: AttributeSet) {
            self =
                switch (attributes.bool(.encrypt) ?? false, attributes.bool(.decrypt) ?? false) {
                case (true, true): .active
                case (false, true): .deactivated
                default: .disabled
                }
        }
    }

    /// The root key's name, the object's CKA_LABEL.
    public let name: String
    public let id: KeyID
    public let state: State
    /// Why it is used although the proof of custody failed: an exception in the configuration. nil for a proven key.
    public let exception: String?
    let object: ObjectHandle

    public var version: UInt32 { id.version }

    /// How errors name it.
    var title: String { "key '\(name)' version \(version) (CKA_ID \(id))" }
}
