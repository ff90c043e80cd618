import PKCS11

/// What one key object on the token shows to an auditor: its attributes, what they say against it, and the trial to
/// take it.
public struct KeyInspection: Sendable {
    public internal(set) var key: KeyObject
    /// What the attributes say against the key; empty if nothing does.
    public let objections: [String]
    public let trial: ProofOfCustody.Trial
    /// What is read of a key: what the proof needs, and the rest of the template it was made with.
    public static let attributeTypes = ProofOfCustody.attributeTypes + [.verify, .modifiable]

    public var name: String { key.name }
    public var idBytes: [UInt8] { key.idBytes }
    public var id: KeyID? { key.id }
    public var attributes: AttributeSet { key.attributes }
    public var object: ObjectHandle { key.object }

    /// Everything against the key, of the attributes and of the trial; empty if it may be used.
    public var findings: [String] { objections + trial.objections(isExtractable: attributes.bool(.extractable)) }

    /// Whether nothing speaks against the key, and the trial proves it.
    public var isProven: Bool { findings.isEmpty && trial.isProof }

    /// What the key's attributes let it do.
    public var state: KeyVersion.State { key.state }

    /// The key as it is after another process has activated it and read that back.
    public func afterActivation() -> KeyInspection {
        var inspection = self
        inspection.key.attributes = attributes.replacing(.bool(.encrypt, true)).replacing(.bool(.decrypt, true))
        return inspection
    }

    /// Tries to take the key.
    init(_ key: KeyObject, _ session: borrowing Session) {
        self.key = key
        objections = ProofOfCustody.objections(key.attributes)
        trial = ProofOfCustody.tryToExport(key.object, session)
    }

    /// Inspects every AES key of this name on the token, the oldest version first, keys that are not Custody's at the end.
    public static func all(named name: String, _ session: borrowing Session) throws(PKCS11Error) -> [KeyInspection] {
        var found: [KeyInspection] = []
        for key in try KeyObject.all(named: name, session) { found.append(KeyInspection(key, session)) }
        return found
    }
}
