import ByteEncoding

extension AuditLine {
    /// What a line says, besides its time, its number and its hash.
    package struct Content: Sendable {
        /// Members of a JSON object, each with a comma before it.
        let bytes: [UInt8]

        /// - Precondition: None: what is made here is never longer than ``AuditLine/longest`` leaves room for, since all that it
        ///   is made of has its bound.
        init(_ members: consuming JSONMembers) { bytes = members.bytes }
    }

    /// More than time, number and hash take of a line.
    static let frameLength = 256

    /// The longest text that a line repeats of something that has no bound of its own, in bytes: a reason, an account's name, the
    /// place of a rule.
    static let longestText = 4_096
    /// So many groups of a caller at the most are written down one by one.
    static let mostGroups = 256

    /// The text, or as much of its beginning as a line repeats.
    static func cut(_ text: String) -> String {
        guard text.utf8.count > longestText else { return text }
        var end = text.utf8.index(text.startIndex, offsetBy: longestText)
        // Not within a character's bytes.
        while end.samePosition(in: text.unicodeScalars) == nil { end = text.utf8.index(before: end) }
        return text[..<end] + "…"
    }
}

extension EncryptionContext {
    /// How many bytes of a line it takes.
    var lengthInLine: Int {
        // Quotes, colon and comma are 6.
        entries.reduce(2) { $0 + 6 + JSONString.length(of: $1.key) + JSONString.length(of: $1.value) }
    }
}

extension Principal {
    /// How many bytes of a line its groups take, about.
    var lengthInLine: Int { 11 * min(gids.count, AuditLine.mostGroups) }
}

extension AuditEvent {
    /// What its line says.
    var content: AuditLine.Content {
        var members = JSONMembers(capacity: 512)
        members.field("event", AuditLine.cut(name))
        for (name, value) in fields { members.field(name, value) }
        return AuditLine.Content(members)
    }
}
