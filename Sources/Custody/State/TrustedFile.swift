import Glibc

/// Files that are named by an operator and decide what this process does.
package enum TrustedFile {
    /// Whether somebody else could change a file, or put another in its place; what it is, and nil for a file that is not there.
    package static func trouble(with path: String) -> String? {
        do throws(FileFailure) {
            var info = stat()
            guard stat(path, &info) == 0 else { return nil }
            try FileTrust().check(info, path)
            _ = try TrustedFolder.containing(path)
            return nil
        } catch {
            return error.code == nil ? error.description : nil
        }
    }
}
