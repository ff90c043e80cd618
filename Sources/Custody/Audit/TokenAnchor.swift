import PKCS11

/// The newest checkpoint of each log as it stands on the token itself, in a data object whose label is the text.
public enum TokenAnchor {
    static let application = "custody"

    /// Every anchor on the token, of whatever log.
    public static func read(_ session: borrowing Session) throws(PKCS11Error) -> [AuditCheckpoint] {
        var found: [AuditCheckpoint] = []
        for object in try session.objects(.data, matching: [.bool(.token, true), .application(application)]) {
            if let text = try session.attributes(of: object, [.label]).string(.label), let anchor = AuditCheckpoint(text: text) {
                found.append(anchor)
            }
        }
        return found
    }
}
