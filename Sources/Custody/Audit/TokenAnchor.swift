import ByteEncoding
import PKCS11

/// The newest checkpoint on the token itself: who rolls the log and the state directory back does not reach it.
///
/// It is a data object whose CKA_LABEL holds the checkpoint: a label can be changed where a token keeps CKA_VALUE of data
/// objects as it was made, so that no object needs to go before its successor is there.
public enum TokenAnchor {
    /// Its CKA_APPLICATION.
    public static let application = "custody"

    /// Every anchor on the token. Needs the user logged in.
    public static func read(_ session: borrowing Session) throws(PKCS11Error) -> [AuditCheckpoint] {
        try objects(session).map(\.anchor)
    }

    /// Puts the checkpoint in the place of the one of the same log, or adds it. Needs a read-write session.
    public static func write(_ checkpoint: AuditCheckpoint, _ session: borrowing Session) throws(PKCS11Error) {
        let mine = try objects(session).filter { $0.anchor.log == checkpoint.log }
        guard let latest = mine.max(by: { $0.anchor.sequence < $1.anchor.sequence }) else {
            _ = try session.createObject([
                .objectClass(.data), .bool(.token, true), .bool(.isPrivate, true), .bool(.modifiable, true),
                .application(application), .label(checkpoint.text),
            ])
            return
        }
        try session.setAttributes(of: latest.object, [.label(checkpoint.text)])
    }

    private static func objects(
        _ session: borrowing Session
    ) throws(PKCS11Error) -> [(object: ObjectHandle, anchor: AuditCheckpoint)] {
        var found: [(object: ObjectHandle, anchor: AuditCheckpoint)] = []
        for object in try session.objects(.data, matching: [.bool(.token, true), .application(application)]) {
            let label = try session.attributes(of: object, [.label]).string(.label) ?? ""
            if let anchor = AuditCheckpoint(text: label) { found.append((object, anchor)) }
        }
        return found
    }
}
