import Crypto
import Glibc
import PKCS11

/// The newest checkpoint on the token itself: who rolls the log and the state directory back does not reach it.
///
/// It is a data object whose CKA_LABEL holds the checkpoint: a label can be changed where a token keeps CKA_VALUE of data
/// objects as it was made, so that no object needs to go before its successor is there. CKA_VALUE says whose log it is, so
/// that a log which takes another one's place is noticed, and daemons of other machines on the same token are not mistaken
/// for that.
public struct TokenAnchor: Sendable {
    /// Its CKA_APPLICATION.
    public static let application = "custody"

    public let checkpoint: AuditCheckpoint
    /// What ``owner(of:)`` gives.
    let owner: [UInt8]
    private let object: ObjectHandle

    /// Every anchor on the token. Needs the user logged in.
    ///
    /// Private ones only: anybody can make a public object. Who has the PIN can make one as well; the MAC tells whether the
    /// token's audit key made what it holds.
    public static func read(_ session: borrowing Session) throws(PKCS11Error) -> [AuditCheckpoint] {
        try all(session).map(\.checkpoint)
    }

    static func all(_ session: borrowing Session) throws(PKCS11Error) -> [TokenAnchor] {
        var found: [TokenAnchor] = []
        for object in try session.objects(.data, matching: [.bool(.token, true), .bool(.isPrivate, true), .application(application)]) {
            let attributes: AttributeSet
            do throws(PKCS11Error) {
                attributes = try session.attributes(of: object, [.isPrivate, .label, .value])
            } catch where error.returnValue == .objectHandleInvalid {
                continue  // removed between the search and the reading
            }
            // A token may overlook a part of a search; what it then says of the object counts.
            guard attributes.bool(.isPrivate) == true, let checkpoint = AuditCheckpoint(text: attributes.string(.label) ?? "") else { continue }
            found.append(TokenAnchor(checkpoint: checkpoint, owner: attributes.bytes(.value) ?? [], object: object))
        }
        return found
    }

    /// How many public objects look like anchors. None of them counts.
    public static func planted(_ session: borrowing Session) throws(PKCS11Error) -> Int {
        try session.objects(.data, matching: [.bool(.token, true), .bool(.isPrivate, false), .application(application)]).count
    }

    /// Puts the checkpoint in the place of the one of the same log, or adds it, and takes those of logs away whose place this
    /// one has taken. Needs a read-write session.
    public static func write(
        _ checkpoint: AuditCheckpoint, owner: [UInt8], superseding: Set<[UInt8]> = [], _ session: borrowing Session
    ) throws(PKCS11Error) {
        let present = try all(session)
        if let mine = present.filter({ $0.checkpoint.log == checkpoint.log }).max(by: { $0.checkpoint.sequence < $1.checkpoint.sequence }) {
            try session.setAttributes(of: mine.object, [.label(checkpoint.text)])
        } else {
            _ = try session.createObject([
                .objectClass(.data), .bool(.token, true), .bool(.isPrivate, true), .bool(.modifiable, true),
                .application(application), .label(checkpoint.text), .value(owner),
            ])
        }
        for anchor in present where anchor.owner == owner && superseding.contains(anchor.checkpoint.log) {
            try session.destroyObject(anchor.object)
        }
    }

    /// Names the log of this machine at this path, without telling either.
    static func owner(of path: String) -> [UInt8] {
        var machine = [UInt8](repeating: 0, count: 256)
        let descriptor = open("/etc/machine-id", O_RDONLY | O_CLOEXEC)
        let count = descriptor >= 0 ? Glibc.read(descriptor, &machine, machine.count) : 0
        if descriptor >= 0 { close(descriptor) }
        if count <= 0 {
            var name = [CChar](repeating: 0, count: 256)
            if gethostname(&name, 255) == 0 { machine = name.map { UInt8(bitPattern: $0) } }
        }
        let resolved = realpath(path, nil).map { pointer in
            defer { free(pointer) }
            return String(cString: pointer)
        }
        return Array(SHA256.hash(data: Array("custody audit log\n".utf8) + machine.prefix { $0 > 0x20 } + [0x0A] + Array((resolved ?? path).utf8)))
    }
}
