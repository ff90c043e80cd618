/// Whom a rule is about.
public enum Subject: Sendable, Hashable {
    case user(name: String, uid: UInt32)
    case group(name: String, gid: UInt32)

    /// Whether it is certain that the principal is meant: what a grant asks. Decided by the numbers alone.
    public func surelyIncludes(_ principal: Principal) -> Bool {
        switch self {
        case .user(_, let uid): principal.uid == uid
        case .group(_, let gid): principal.groups.surelyContain(gid)
        }
    }

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
