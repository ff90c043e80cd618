/// Whom a rule is about.
public enum Subject: Sendable, Hashable {
    case user(name: String, uid: UInt32)
    case group(name: String, gid: UInt32)

    /// Decided by the numbers alone.
    public func includes(_ principal: Principal) -> Bool {
        switch self {
        case .user(_, let uid): principal.uid == uid
        case .group(_, let gid): principal.gids.contains(gid)
        }
    }
}

extension Subject? {
    /// nil is everyone.
    public func includes(_ principal: Principal) -> Bool { self?.includes(principal) ?? true }
}
