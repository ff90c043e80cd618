import ByteEncoding
import PKCS11

/// What root keys the token holds, as of one look at it.
public struct KeyRing: Sendable {
    /// An AES key on the token that cannot be a version of a root key, and why.
    public struct Stranger: Sendable {
        /// Its label as text, for people.
        public let name: String
        /// Its CKA_ID, whatever its form.
        public let id: [UInt8]
        public let reason: String
    }

    private let byID: [KeyID: KeyVersion]
    private let byName: [KeyName: [KeyVersion]]
    /// AES keys that are not Custody's, by name.
    public let strangersByName: [Stranger]

    static let empty = KeyRing(versions: [], strangers: [])

    /// - Parameter versions: One per id, but for refused ones whose id several objects share.
    init(versions: [KeyVersion], strangers: [Stranger]) {
        byID = Dictionary(versions.map { ($0.id, $0) }) { first, _ in first }
        byName = Dictionary(grouping: versions, by: \.name).mapValues { $0.sorted { $0.version < $1.version } }
        strangersByName = strangers.map { (order: ($0.name, hexadecimal($0.id)), $0) }.sorted { $0.order < $1.order }.map(\.1)
    }

    /// The names, sorted, each with its versions from the oldest to the newest.
    public var keys: [(name: KeyName, versions: [KeyVersion])] {
        byName.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// What an object is a version of; nil for a public one that only bears a version's name and CKA_ID.
    public func version(_ key: KeyObject) -> KeyVersion? {
        (try? KeyName(key.name)).flatMap { byName[$0] }?.first { $0.id == key.id && (!key.isPublic || $0.object == key.object) }
    }

    func contains(_ name: KeyName) -> Bool { byName[name] != nil }

    /// Whether no version of another ring is absent here.
    func hasAll(of other: KeyRing) -> Bool { other.byID.keys.allSatisfy { byID[$0] != nil } }

    public func version(_ id: KeyID) -> KeyVersion? { byID[id] }

    /// The version that wraps: the newest active one.
    ///
    /// - Throws: ``CustodyError`` with `keyNotFound`, `keyNotUsable` or `keyRefused`.
    func wrappingVersion(of name: KeyName) throws(CustodyError) -> KeyVersion {
        guard let versions = byName[name], let newest = versions.last else {
            if let stranger = strangersByName.first(where: { $0.name.utf8.elementsEqual(name.description.utf8) }) {
                throw CustodyError(.keyRefused, stranger.reason)
            }
            throw CustodyError(
                .keyNotFound, "there is no key '\(name)' on the token; `custodyctl key list` shows the keys, `custodyctl key generate` makes one")
        }
        if let active = versions.last(where: { $0.state == .active }) { return active }
        for version in versions.reversed() {
            if case .refused(let reason) = version.state { throw CustodyError(.keyRefused, reason) }
        }
        throw CustodyError(.keyNotUsable, "\(newest.title) is \(newest.state.phrase) and no other version is active")
    }

    /// The version that a blob names, if it may open blobs.
    ///
    /// - Throws: ``CustodyError`` with `keyNotFound`, `keyNotUsable` or `keyRefused`.
    func unwrappingVersion(_ id: KeyID) throws(CustodyError) -> KeyVersion {
        guard let version = byID[id] else {
            throw CustodyError(
                .keyNotFound,
                "the key that this blob names (CKA_ID \(id)) is not on the token: it was removed, or the blob belongs to another token")
        }
        switch version.state {
        case .active, .deactivated: return version
        case .disabled, .scheduledForDestruction: throw CustodyError(.keyNotUsable, "\(version.title) is \(version.state.phrase)")
        case .refused(let reason): throw CustodyError(.keyRefused, reason)
        }
    }
}
