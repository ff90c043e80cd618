import Glibc
import MasterKey

/// The file that an SQLite database is.
struct DatabaseFile: Sendable {
    /// Absolute: SQLite would take some relative ones for URIs or for names of its own.
    let path: String

    /// Which file a path stood for when it was opened.
    struct Identity: Sendable, Hashable {
        let device: dev_t
        let inode: ino_t
    }

    init(path: String) {
        if path.hasPrefix("/") {
            self.path = path
        } else {
            let folder = getcwd(nil, 0)
            defer { free(folder) }
            self.path = (folder.map { String(cString: $0) } ?? ".") + "/" + path
        }
    }

    /// - Throws: `database-unavailable` or `database-denied`, if it isn't there or is no file.
    func identity() throws(MasterKeyError) -> Identity {
        var status = stat()
        guard stat(path, &status) == 0 else { throw failure(errno) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw MasterKeyError(.databaseUnavailable, "\(path) is not a file")
        }
        return Identity(device: status.st_dev, inode: status.st_ino)
    }

    var isEmpty: Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_size == 0
    }

    /// Makes an empty file that only its owner can read; SQLite gives the files that it makes beside it the same mode.
    func create() throws(MasterKeyError) {
        let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        if descriptor >= 0 {
            close(descriptor)
        } else if errno != EEXIST {
            throw failure(errno, making: true)
        }
    }

    /// Its path without symbolic links, the same for everybody who has it open.
    func realPath() throws(MasterKeyError) -> String {
        guard let real = realpath(path, nil) else { throw failure(errno) }
        defer { free(real) }
        return String(cString: real)
    }

    /// The one way to spell its path, whether the file is there yet or not: without symbolic links, `.` and double slashes.
    var canonicalPath: String {
        if let real = try? realPath() { return real }
        guard let slash = path.lastIndex(of: "/") else { return path }
        let folder = path[..<slash]
        guard let real = try? DatabaseFile(path: folder.isEmpty ? "/" : String(folder)).realPath() else { return path }
        return (real.utf8.elementsEqual("/".utf8) ? "" : real) + path[slash...]
    }

    /// Whether the file, or for SQLite's own files beside it the folder, can't be written to or read.
    var isForbidden: Bool {
        if faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) != 0 { return [EACCES, EPERM, EROFS].contains(errno) }
        let folder = path.prefix(upTo: path.lastIndex(of: "/") ?? path.startIndex) + "/"
        return faccessat(AT_FDCWD, String(folder), W_OK | X_OK, AT_EACCESS) != 0
    }

    private func failure(_ code: Int32, making: Bool = false) -> MasterKeyError {
        switch code {
        case ENOENT where making: MasterKeyError(.databaseUnavailable, "there is no folder for \(path)")
        case ENOENT, ENOTDIR:
            MasterKeyError(.databaseUnavailable, "there is no file \(path)", advice: "`custody-mek migrate` makes it")
        case EACCES, EPERM, EROFS:
            MasterKeyError(.databaseDenied, "this user may not use \(path): \(String(cString: strerror(code)))")
        default: MasterKeyError(.databaseUnavailable, "cannot use \(path): \(String(cString: strerror(code)))")
        }
    }
}
