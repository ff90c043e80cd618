import Glibc
import MasterKey
import Synchronization

/// A byte of a file that is locked for this open file description (F_OFD_SETLK): against other processes and against other
/// descriptors of this one. The kernel frees it when the descriptor is closed, so also when the process is killed.
final class FileLock: TenantLock {
    private let descriptor: Mutex<Int32?>

    /// F_OFD_SETLK of linux/fcntl.h, which glibc declares for _GNU_SOURCE only.
    private static let setLock: Int32 = 37

    private init(_ descriptor: Int32) { self.descriptor = Mutex(descriptor) }

    deinit { close() }

    /// - Returns: nil if somebody has it.
    static func take(byte: Int64, of path: String) throws(MasterKeyError) -> FileLock? {
        // Nobody else may have it open for reading only and think that it is locked by them.
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failure(path) }
        let lock = FileLock(descriptor)
        var range = flock()
        range.l_type = Int16(F_WRLCK)
        range.l_whence = Int16(SEEK_SET)
        range.l_start = off_t(byte & .max)
        range.l_len = 1
        guard fcntl(descriptor, setLock, &range) != 0 else { return lock }
        // EACCES is what POSIX allows for EAGAIN here.
        guard errno == EAGAIN || errno == EACCES else { throw failure(path) }
        return nil
    }

    func release() async { close() }

    private func close() {
        descriptor.withLock { descriptor in
            if let descriptor { _ = Glibc.close(descriptor) }
            descriptor = nil
        }
    }

    private static func failure(_ path: String) -> MasterKeyError {
        let code = errno
        let isDenied = [EACCES, EPERM, EROFS].contains(code)
        return MasterKeyError(
            isDenied ? .databaseDenied : .databaseUnavailable, "cannot lock \(path): \(String(cString: strerror(code)))")
    }
}
