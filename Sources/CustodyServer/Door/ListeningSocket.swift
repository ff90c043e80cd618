import CSystemShim
import Glibc

/// Why the daemon can't listen, and what to do.
public struct ListenError: Error, CustomStringConvertible {
    public let description: String
}

/// A listening Unix socket at a path: the daemon's own, or one that a service manager keeps.
struct ListeningSocket: ~Copyable {
    let descriptor: Int32
    let path: String
    /// The daemon's own file; nil if it is not the daemon's to remove.
    private let identity: (dev_t, ino_t)?

    /// Takes what a service manager has passed.
    init(_ passed: PassedSocket) {
        descriptor = passed.descriptor
        path = passed.path
        identity = nil
    }

    /// Makes one. Removes a dead daemon's socket file, never a living one's and never another file.
    init(path: String, mode: UInt32) throws(ListenError) {
        var info = stat()
        if lstat(path, &info) == 0 {
            guard info.st_mode & S_IFMT == S_IFSOCK else {
                throw ListenError(description: "\(path) is there already and is not a socket; remove it or set another `socket`")
            }
            guard !Self.isAlive(path) else {
                throw ListenError(description: "another daemon listens on \(path); stop it or set another `socket`")
            }
            unlink(path)
        }
        let descriptor = csystem_listen_unix(path, mode, 1_024)
        guard descriptor >= 0 else {
            throw ListenError(
                description: "can't listen on \(path): \(String(cString: strerror(-descriptor))); its folder must exist and be writable for the daemon's user")
        }
        self.descriptor = descriptor
        self.path = path
        identity = lstat(path, &info) == 0 ? (info.st_dev, info.st_ino) : nil
    }

    deinit {
        // Only our own file: another daemon may have taken the path over.
        var info = stat()
        if let identity, lstat(path, &info) == 0, identity == (info.st_dev, info.st_ino) { unlink(path) }
        close(descriptor)
    }

    private static func isAlive(_ path: String) -> Bool {
        let probe = csystem_connect_unix(path)
        guard probe >= 0 else { return probe != -ECONNREFUSED && probe != -ENOENT }
        close(probe)
        return true
    }
}
