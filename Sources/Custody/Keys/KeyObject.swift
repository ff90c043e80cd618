import ByteEncoding
import PKCS11

/// One AES key object on the token as it was read: all that a change of its state needs to know.
public struct KeyObject: Sendable {
    /// The object, while the module stays initialised and the user logged in.
    public let object: ObjectHandle
    /// The attributes as the token reports them.
    public internal(set) var attributes: AttributeSet
    /// The object's CKA_LABEL.
    public let name: String
    /// The object's CKA_ID, whatever its form.
    public let idBytes: [UInt8]
    /// The id if it is one of Custody's; nil for a key that somebody else made.
    public let id: KeyID?

    /// What the key's attributes let it do.
    public var state: KeyVersion.State { KeyVersion.State(attributes) }

    /// Whether anybody can have made it, without the PIN: such an object is no version, whatever its label and CKA_ID say.
    public var isPublic: Bool { attributes.bool(.isPrivate) == false }

    /// How sentences name it.
    public var title: String {
        id.map { "key '\(name)' version \($0.version) (CKA_ID \($0))" }
            ?? "key '\(name)' (CKA_ID \(idBytes.isEmpty ? "empty" : hexadecimal(idBytes)))"
    }

    /// Whether the version was scheduled for destruction and its day is over.
    ///
    /// Nobody confirms what a timer destroys. So it has to be a root key beyond doubt: the token may hold a stranger's AES
    /// key whose CKA_ID has 16 bytes, that wraps other keys, and whose CKA_END_DATE has passed.
    public func isDue(_ today: UTCDay) -> Bool {
        guard id != nil, case .scheduledForDestruction = state, let end = attributes.day(.endDate), end < today else { return false }
        return isRootKey
    }

    /// Whether the attributes are those of a root key, and of nothing else.
    public var isRootKey: Bool {
        ProofOfCustody.objections(attributes).isEmpty && attributes.bool(.sign) != true && attributes.bool(.verify) != true
    }

    /// - Parameter dates: nil to read the notes anew.
    init(_ object: ObjectHandle, _ session: borrowing Session, dates: KeyDates? = nil) throws(PKCS11Error) {
        self.object = object
        attributes = try (dates ?? KeyDates(session)).attributes(of: object, KeyInspection.attributeTypes, session)
        name = attributes.string(.label) ?? ""
        idBytes = attributes.bytes(.id) ?? []
        id = KeyID(idBytes).flatMap { $0.version > 0 ? $0 : nil }
    }

    /// Every AES key on the token, or those of one name: the oldest version first, keys that are not Custody's at the end.
    public static func all(named name: String? = nil, _ session: borrowing Session) throws(PKCS11Error) -> [KeyObject] {
        let label = name.map { [Attribute.label($0)] } ?? []
        let dates = KeyDates(session)
        var found: [KeyObject] = []
        for object in try session.objects(.secretKey, matching: [.bool(.token, true), .keyType(.aes)] + label) {
            do throws(PKCS11Error) {
                found.append(try KeyObject(object, session, dates: dates))
            } catch where error.returnValue == .objectHandleInvalid {
                continue  // removed between the search and the reading
            }
        }
        return found.sorted {
            ($0.name, $0.id?.version ?? .max, hexadecimal($0.idBytes)) < ($1.name, $1.id?.version ?? .max, hexadecimal($1.idBytes))
        }
    }
}
