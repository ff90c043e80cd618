import Custody
import Glibc
import SecureMemory
import ToolSupport

/// Files and folders of the host that `setup` looks at and makes.
///
/// It works as root, and some of the folders belong to the daemon's user: what that user puts in the way, a symbolic link say, must
/// lead root nowhere. So every folder is opened once and name by name, and worked in by its descriptor.
struct HostFiles {
    /// Whose a folder may be, besides root's.
    enum Owner {
        case root, daemon
    }

    /// A user and its group of the same name; nil if there is none yet.
    static func ids(_ user: String) -> (uid_t, gid_t)? { getpwnam(user).map { ($0.pointee.pw_uid, $0.pointee.pw_gid) } }

    static func daemonIDs() throws(ToolError) -> (uid_t, gid_t) {
        guard let ids = ids(SetupPlan.daemonUser) else { throw ToolError("failed", "there is no user '\(SetupPlan.daemonUser)'") }
        return ids
    }

    /// Whether a folder is there.
    ///
    /// - Throws: ``ToolError`` if somebody else could have put something into it.
    func isFolder(_ path: String, of owner: Owner) throws(ToolError) -> Bool {
        do throws(FileFailure) {
            _ = try open(path, owner)
            return true
        } catch {
            // Who only wants to see what would be done need not be able to look into it.
            if error.code == EACCES { return true }
            guard error.code == ENOENT else { throw Self.refused(error) }
            return false
        }
    }

    /// Whether a file of root's is there.
    ///
    /// - Throws: ``ToolError`` if somebody else could have written it.
    func isFile(_ path: String) throws(ToolError) -> Bool {
        do throws(FileFailure) {
            return try open(Self.folder(path), .root).read(Self.name(path)) != nil
        } catch {
            if error.code == EACCES { return true }
            guard error.code == ENOENT else { throw Self.refused(error) }
            return false
        }
    }

    /// Makes a folder of the daemon's user in another one of its own, if it is not there.
    func makeFolders(_ names: [String], in path: String) throws(ToolError) {
        let ids = try Self.daemonIDs()
        do throws(FileFailure) {
            var folder = try open(path, .daemon)
            for name in names { folder = try folder.openOrMake(name, owner: ids) }
        } catch {
            throw Self.refused(error)
        }
    }

    /// Writes a whole file of root's or none.
    ///
    /// - Parameter group: Whose members may read it, if the mode says so.
    func write(_ text: String, to path: String, mode: mode_t, group: String) throws(ToolError) {
        try write(SecretBytes(Array(text.utf8)), to: path, mode: mode, group: group)
    }

    /// The same, of a secret.
    func write(_ content: SecretBytes, to path: String, mode: mode_t, group: String) throws(ToolError) {
        guard let entry = getgrnam(group) else { throw ToolError("failed", "there is no group '\(group)'") }
        let owner = (uid_t(0), entry.pointee.gr_gid)
        do throws(FileFailure) {
            let folder = try TrustedFolder.openOrMake(Self.folder(path), trust: FileTrust(user: 0))
            try content.withBytes { span throws(FileFailure) in try folder.replace(Self.name(path), with: span, mode: mode, owner: owner) }
        } catch {
            throw Self.refused(error)
        }
    }

    private func open(_ path: String, _ owner: Owner) throws(FileFailure) -> TrustedFolder {
        let user =
            switch owner {
            case .root: uid_t(0)
            case .daemon: Self.ids(SetupPlan.daemonUser)?.0 ?? 0
            }
        return try TrustedFolder(path, trust: FileTrust(user: user))
    }

    static func refused(_ failure: FileFailure) -> ToolError {
        failure.code == nil ? ToolError("not-trusted", failure.description) : ToolError("output-failed", failure.description)
    }

    private static func folder(_ path: String) -> String { String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]) }
    private static func name(_ path: String) -> String { String(path[(path.lastIndex(of: "/").map(path.index(after:)) ?? path.startIndex)...]) }
}
