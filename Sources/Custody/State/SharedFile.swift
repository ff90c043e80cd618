import Glibc

/// A small file that several processes of one host read and write in turn, such as a daemon and the operator's tools, also those
/// that root runs.
///
/// Whoever has the ``Lock`` may read and replace it. It is replaced as a whole, and belongs to the owner of its folder whoever writes
/// it. The folder is opened once and no link in it is followed, so its owner leads root nowhere else.
struct SharedFile: Sendable, Hashable {
    struct Failure: Error {
        let message: String
        /// nil if it was no system call that failed.
        var code: Int32?

        fileprivate static func system(_ step: String) -> Failure {
            let code = errno
            return Failure(message: "can't \(step): \(String(cString: strerror(code)))", code: code)
        }
    }

    /// More than it ever holds.
    private static let longest = 65_536

    let path: String

    private var folder: String { AtomicFile.folder(of: path) }
    private var name: String { String(path[(path.lastIndex(of: "/").map { path.index(after: $0) } ?? path.startIndex)...]) }

    /// Waits for the lock.
    ///
    /// - Returns: nil if another process has it for all of this time.
    func lock(within patience: Duration) throws(Failure) -> Lock? {
        let directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw .system("open \(folder)") }
        var info = stat()
        guard fstat(directory, &info) == 0 else {
            close(directory)
            throw .system("examine \(folder)")
        }
        guard info.st_mode & 0o022 == 0, geteuid() == 0 || info.st_uid == geteuid() || info.st_uid == 0 else {
            close(directory)
            throw Failure(message: "the folder \(folder) can be written by others; run chmod go-w on it, and see to its owner")
        }
        let descriptor = openat(directory, name + ".lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0o600)
        guard descriptor >= 0 else {
            let failure = Failure.system("open \(path).lock")
            close(directory)
            throw failure
        }
        if geteuid() == 0 { fchown(descriptor, info.st_uid, info.st_gid) }
        let end = ContinuousClock.now + patience
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EINTR || errno == EWOULDBLOCK, .now < end else {
                close(descriptor)
                close(directory)
                return nil
            }
            usleep(5_000)
        }
        return Lock(directory: directory, descriptor: descriptor, owner: info, path: path, name: name)
    }

    /// The right to read and to replace the file, until the last reference goes.
    final class Lock: Sendable {
        private let directory: Int32
        private let descriptor: Int32
        private let owner: (uid_t, gid_t)
        private let path: String
        private let name: String

        fileprivate init(directory: Int32, descriptor: Int32, owner: stat, path: String, name: String) {
            self.directory = directory
            self.descriptor = descriptor
            self.owner = (owner.st_uid, owner.st_gid)
            self.path = path
            self.name = name
        }

        deinit {
            // A process that is being started may hold the descriptor a moment longer, and with it the lock.
            flock(descriptor, LOCK_UN)
            close(descriptor)
            close(directory)
        }

        /// The content; nil if there is no such file.
        func read() throws(Failure) -> [UInt8]? {
            let file = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
            guard file >= 0 else {
                if errno == ENOENT { return nil }
                throw .system("open \(path)")
            }
            defer { close(file) }
            var info = stat()
            guard fstat(file, &info) == 0 else { throw .system("examine \(path)") }
            guard info.st_mode & S_IFMT == S_IFREG, info.st_size <= SharedFile.longest else {
                throw Failure(message: "\(path) is no file of Custody's")
            }
            var content = [UInt8](repeating: 0, count: SharedFile.longest)
            var filled = 0
            while filled < content.count {
                let count = content.withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress.map { $0 + filled }, $0.count - filled) }
                if count < 0, errno == EINTR { continue }
                guard count >= 0 else { throw .system("read \(path)") }
                if count == 0 { break }
                filled += count
            }
            return Array(content.prefix(filled))
        }

        /// Puts a file of mode 0600 in its place, on the disk when this returns.
        func replace(with content: [UInt8]) throws(Failure) {
            let new = name + ".new"
            // One that was left behind may belong to root.
            unlinkat(directory, new, 0)
            let file = openat(directory, new, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
            guard file >= 0 else { throw .system("make \(path).new") }
            defer { close(file) }
            if geteuid() == 0, fchown(file, owner.0, owner.1) != 0 { throw .system("give away \(path).new") }
            var written = 0
            while written < content.count {
                let count = content.withUnsafeBytes { write(file, $0.baseAddress.map { $0 + written }, $0.count - written) }
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw .system("write \(path).new") }
                written += count
            }
            guard fsync(file) == 0 else { throw .system("sync \(path).new") }
            guard renameat(directory, new, directory, name) == 0 else { throw .system("replace \(path)") }
            // Not every file system knows fsync of a folder.
            guard fsync(directory) == 0 || errno == EINVAL else { throw .system("sync the folder of \(path)") }
        }

        /// Removes it; a crash may bring it back.
        func remove() throws(Failure) {
            guard unlinkat(directory, name, 0) == 0 || errno == ENOENT else { throw .system("remove \(path)") }
        }
    }
}
