import Glibc

/// The open file of the audit log. It belongs to one daemon alone, and lines are appended whole or not at all.
final class AuditFile: Sendable {
    /// Which file it is, whatever its name.
    struct Identity: Sendable, Equatable {
        let device: UInt64
        let inode: UInt64

        init(_ status: stat) {
            device = UInt64(status.st_dev)
            inode = UInt64(status.st_ino)
        }
    }

    let path: String
    let identity: Identity
    /// A device, such as /dev/full, has no size and no lines to be found again.
    let isRegular: Bool
    let descriptor: Int32
    private let folder: TrustedFolder

    /// Opens it, or creates it with mode 0600.
    init(_ path: String) throws(AuditFailure) {
        do {
            folder = try TrustedFolder.containing(path)
        } catch {
            throw AuditFailure("\(path): \(error)")
        }
        // Without O_NONBLOCK a pipe in its place would hold the daemon up for as long as nobody reads from it.
        let descriptor = openat(folder.descriptor, AtomicFile.name(of: path), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o600)
        guard descriptor >= 0 else { throw AuditFailure(path, errno: errno) }
        self.path = path
        self.descriptor = descriptor
        var status = stat()
        let isKnown = fstat(descriptor, &status) == 0
        let kind = status.st_mode & S_IFMT
        identity = Identity(status)
        isRegular = kind == S_IFREG
        guard isKnown else { throw AuditFailure(path, errno: errno) }
        // What goes into a pipe is gone with its reader, and nobody may read from it.
        guard isRegular || kind == S_IFCHR else {
            throw AuditFailure("the audit log \(path) is neither a regular file nor a character device; move it away or set another `audit.file`")
        }
        if isRegular {
            do { try FileTrust().check(status, path) } catch { throw AuditFailure(error.description) }
        }
        // Two daemons' lines in one file would make no sense of either's; the lock goes with the descriptor.
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            throw AuditFailure("another daemon writes the audit log \(path); stop it or set another `audit.file`")
        }
    }

    deinit {
        // A process that is being started may hold the descriptor a moment longer, and with it the lock.
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }

    /// Which file the path names now, and its size; nil if none.
    static func look(at path: String) -> (identity: Identity, size: Int)? {
        var status = stat()
        return lstat(path, &status) == 0 ? (Identity(status), Int(status.st_size)) : nil
    }

    /// Its size, and whether any name leads to it still.
    func look() throws(AuditFailure) -> (size: Int, isLinked: Bool) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw AuditFailure(path, errno: errno) }
        return (Int(status.st_size), status.st_nlink > 0)
    }

    /// How a write that failed left the file.
    struct WriteFailure: Error {
        let failure: AuditFailure
        /// A part of the lines stands at its end and could not be cut off.
        let isTorn: Bool
    }

    /// Appends all of it, or nothing.
    func append(_ bytes: [UInt8]) throws(WriteFailure) {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress.map { $0 + written }, $0.count - written) }
            if count > 0 {
                written += count
            } else if errno != EINTR {
                let failure = AuditFailure(path, errno: errno)
                guard written > 0, isRegular else { throw WriteFailure(failure: failure, isTorn: false) }
                let end = lseek(descriptor, 0, SEEK_END)
                let isCut = end >= off_t(written) && ftruncate(descriptor, end - off_t(written)) == 0
                throw WriteFailure(failure: failure, isTorn: !isCut)
            }
        }
    }

    func cut(to size: Int) throws(AuditFailure) {
        guard ftruncate(descriptor, off_t(size)) == 0 else {
            throw AuditFailure("\(path): half a line can't be cut off", errno: errno)
        }
    }

    /// fdatasync.
    func sync() throws(AuditFailure) {
        guard isRegular else { return }
        while fdatasync(descriptor) != 0 {
            guard errno == EINTR else { throw AuditFailure("\(path): fdatasync", errno: errno) }
        }
    }

    /// Makes the name of a new file last.
    func syncFolder() throws(AuditFailure) {
        guard isRegular else { return }
        do {
            try folder.sync()
        } catch {
            throw AuditFailure(error.description)
        }
    }
}
