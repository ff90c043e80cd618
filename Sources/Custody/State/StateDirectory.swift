import Glibc

/// The folder for the little that must outlive the daemon. One daemon each: it is locked.
///
/// Files in it are replaced as a whole, so that a crash leaves the old one or the new one.
public final class StateDirectory: Sendable {
    public let path: String
    private let descriptor: Int32

    /// Opens the folder, and makes it (mode 0700) if only it is missing.
    ///
    /// - Throws: ``CustodyError`` with `stateUnavailable`.
    public init(_ path: String) throws(CustodyError) {
        self.path = path
        if mkdir(path, 0o700) != 0, errno != EEXIST {
            throw CustodyError(
                .stateUnavailable,
                "can't make the state directory \(path): \(String(cString: strerror(errno))); make it and give it to the daemon's user")
        }
        descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw CustodyError(
                .stateUnavailable,
                "can't open the state directory \(path): \(String(cString: strerror(errno))); it must be a folder of the daemon's user")
        }
        // Two daemons would count the same uses over each other.
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw CustodyError(.stateUnavailable, "another daemon uses the state directory \(path); stop it or set another `state.directory`")
        }
    }

    deinit {
        // A process that is being started may hold the descriptor a moment longer, and with it the lock.
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }

    func file(_ name: String) -> String { path + "/" + name }

    /// The content of a file; nil if there is none.
    func read(_ name: String) throws(CustodyError) -> [UInt8]? {
        let file = openat(descriptor, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            throw failed("can't open \(self.file(name)): \(String(cString: strerror(errno)))")
        }
        defer { close(file) }
        var content: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(file, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw failed("can't read \(self.file(name)): \(String(cString: strerror(errno)))") }
            if count == 0 { return content }
            content += buffer.prefix(count)
        }
    }

    /// Puts a file in the place of the one of this name, on the disk when this returns.
    func replace(_ name: String, with content: [UInt8]) throws(CustodyError) {
        do {
            try AtomicFile.replace(file(name), with: content)
        } catch {
            throw failed(error.description)
        }
    }

    private func failed(_ cause: String) -> CustodyError {
        CustodyError(
            .stateUnavailable, "the daemon can't keep its state; the operator has to make room or repair the state directory",
            cause: cause, retryAfterMilliseconds: 1_000)
    }
}
