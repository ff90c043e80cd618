/// Whom a rule is about.
public enum Subject: Sendable, Hashable {
    case user(name: String, uid: UInt32)
    case group(name: String, gid: UInt32)

    /// Whether it is certain that the principal is meant: what a grant asks. Decided by the numbers alone.
    ///
    /// Where ranges of subordinate ids overlap those of accounts, which happens with accounts that are managed elsewhere, whoever
    /// has the range can be anybody in it: then a name means nobody. A number that stands in the rule is what is meant.
    public func surelyIncludes(_ principal: Principal) -> Bool {
        switch self {
        case .user(let name, let uid):
            principal.uid == uid && (principal.subordination == nil || Self.isNumber(name))
        case .group(let name, let gid):
            principal.groups.surelyContain(gid) && (!principal.groups.assumable.contains(gid) || Self.isNumber(name))
        }
    }

    private static func isNumber(_ name: String) -> Bool { UInt32(name) != nil }

    /// Whether the principal may be meant, or somebody whose uids it uses: what denials and limits ask. What can't be told is
    /// taken to be so.
    public func mayInclude(_ principal: Principal) -> Bool {
        switch self {
        case .user(_, let uid): principal.uid == uid || principal.subordination.map { $0.owners?.contains(uid) ?? true } ?? false
        case .group(_, let gid): principal.groups.mayContain(gid)
        }
    }
}

extension Subject? {
    /// nil is everyone.
    public func mayInclude(_ principal: Principal) -> Bool { self?.mayInclude(principal) ?? true }
}
