import ByteEncoding
import PKCS11

/// What one key object on the token shows to an auditor: its attributes, what they say against it, and the trial to
/// wrap it out.
public struct KeyInspection: Sendable {
    /// The object's CKA_LABEL.
    public let name: String
    /// The object's CKA_ID, whatever its form.
    public let idBytes: [UInt8]
    /// The id if it is one of Custody's; nil for a key that somebody else made.
    public let id: KeyID?
    /// The attributes as the token reports them.
    public private(set) var attributes: AttributeSet
    /// What the attributes say against the key; empty if nothing does.
    public let objections: [String]
    public let trial: ProofOfCustody.Trial
    /// The object, while the module stays initialised and the user logged in.
    public let object: ObjectHandle

    /// What is read of a key: what the proof needs, and the rest of the template it was made with.
    public static let attributeTypes = ProofOfCustody.attributeTypes + [.verify, .modifiable]

    /// Everything against the key, of the attributes and of the trial; empty for a proven key.
    public var findings: [String] { objections + trial.objections(isExtractable: attributes.bool(.extractable)) }

    public var isProven: Bool { findings.isEmpty }

    /// What the key's attributes let it do.
    public var state: KeyVersion.State { KeyVersion.State(attributes) }

    /// The key as it is after another process has activated it and read that back.
    public func afterActivation() -> KeyInspection {
        var key = self
        key.attributes = attributes.replacing(.bool(.encrypt, true)).replacing(.bool(.decrypt, true))
        return key
    }

    /// Reads the object and tries to wrap it out.
    init(_ object: ObjectHandle, _ session: borrowing Session) throws(PKCS11Error) {
        self.object = object
        attributes = try session.attributes(of: object, Self.attributeTypes)
        name = attributes.string(.label) ?? ""
        idBytes = attributes.bytes(.id) ?? []
        id = KeyID(idBytes).flatMap { $0.version > 0 ? $0 : nil }
        objections = ProofOfCustody.objections(attributes)
        trial = ProofOfCustody.tryToExport(object, session)
    }

    /// Inspects every AES key of this name on the token, the oldest version first, keys that are not Custody's at the end.
    public static func all(named name: String, _ session: borrowing Session) throws(PKCS11Error) -> [KeyInspection] {
        var found: [KeyInspection] = []
        for object in try session.objects(.secretKey, matching: [.bool(.token, true), .keyType(.aes), .label(name)]) {
            do throws(PKCS11Error) {
                found.append(try KeyInspection(object, session))
            } catch where error.returnValue == .objectHandleInvalid {
                continue  // removed between the search and the reading
            }
        }
        return found.sorted { ($0.id?.version ?? .max, hexadecimal($0.idBytes)) < ($1.id?.version ?? .max, hexadecimal($1.idBytes)) }
    }
}
