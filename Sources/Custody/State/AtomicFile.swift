import Glibc

/// Files that are replaced as a whole: whenever the machine dies, the old one or the new one is there.
enum AtomicFile {
    struct Failure: Error {
        /// What could not be done, such as `write /var/lib/custody/x.new`.
        let step: String
        let code: Int32

        var description: String { "can't \(step): \(String(cString: strerror(code)))" }
    }

    /// Puts a file of mode 0600 in the place of the one of this path, on the disk when this returns.
    static func replace(_ path: String, with content: [UInt8]) throws(Failure) {
        let new = path + ".new"
        let descriptor = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw Failure(step: "make \(new)", code: errno) }
        defer { close(descriptor) }
        var written = 0
        while written < content.count {
            let count = content.withUnsafeBytes { write(descriptor, $0.baseAddress.map { $0 + written }, $0.count - written) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw Failure(step: "write \(new)", code: errno) }
            written += count
        }
        guard fdatasync(descriptor) == 0 else { throw Failure(step: "sync \(new)", code: errno) }
        guard rename(new, path) == 0 else { throw Failure(step: "replace \(path)", code: errno) }
        try sync(folder: folder(of: path))
    }

    /// The folder that a file is in.
    static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// Makes new names in a folder last.
    static func sync(folder: String) throws(Failure) {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure(step: "open \(folder)", code: errno) }
        defer { close(descriptor) }
        // Not every file system knows fsync of a folder.
        guard fsync(descriptor) == 0 || errno == EINVAL else { throw Failure(step: "sync \(folder)", code: errno) }
    }
}
