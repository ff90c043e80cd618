import Foundation

/// What stands beside a daemon's audit log and belongs to it: the files that rotation put aside.
///
/// These are regular files named `NAME.*` and `NAME-*`. A symbolic link is none, and neither is a pipe or a folder: no
/// rotation makes them, and whoever opens them may read something else or wait for ever.
public struct AuditFiles: Sendable, Hashable {
    /// In the order of their names, which need not be that of the log.
    public let plain: [String]
    /// Nobody here unpacks them.
    public let compressed: [String]

    /// The ending of a compressed file's name; nil if it has none.
    public static func compression(_ path: String) -> String? {
        [".gz", ".xz", ".zst", ".bz2", ".lz4"].first(where: path.hasSuffix)
    }

    /// The predecessors of a log, without the log's file itself.
    ///
    /// Whoever opens them does it by `O_NOFOLLOW | O_NONBLOCK`, since names may change after this.
    ///
    /// - Returns: nil if the folder can't be listed.
    public static func beside(_ path: String) -> AuditFiles? {
        let folder = AtomicFile.folder(of: path)
        let name = URL(fileURLWithPath: path).lastPathComponent
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else { return nil }
        let files = names.filter { $0.hasPrefix(name + ".") || $0.hasPrefix(name + "-") }.sorted().map { "\(folder)/\($0)" }
            .filter(isRegular)
        return AuditFiles(plain: files.filter { compression($0) == nil }, compressed: files.filter { compression($0) != nil })
    }

    private static func isRegular(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }
}
