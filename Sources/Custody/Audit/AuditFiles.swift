import Foundation

/// The files of an audit log: its own, and those that rotations put aside beside it. One rule for whoever looks for them.
public enum AuditFiles {
    private static let compressions = [".gz", ".xz", ".zst", ".bz2"]

    /// Regular files named like the log, or so with `.` or `-` and something behind it (logrotate's `.1`, `-20261121`); no
    /// symbolic links.
    ///
    /// - Returns: Those that can be read as they are, the log's own first, and the compressed ones.
    public static func beside(_ path: String) -> (readable: [String], compressed: [String]) {
        let folder = AtomicFile.folder(of: path)
        let name = URL(fileURLWithPath: path).lastPathComponent
        let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
        let files = names.filter { $0 == name || $0.hasPrefix(name + ".") || $0.hasPrefix(name + "-") }
            .map { $0 == name ? path : "\(folder)/\($0)" }
            .filter { file in
                var status = stat()
                return lstat(file, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
            }
        let isCompressed = { (file: String) in compressions.contains { file.hasSuffix($0) } }
        return (files.filter { !isCompressed($0) }, files.filter(isCompressed))
    }
}
