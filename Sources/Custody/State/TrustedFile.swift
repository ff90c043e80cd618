import Glibc

/// Files that are named by an operator and decide what this process does.
package enum TrustedFile {
    /// All bytes of a file that root or this process' user wrote and nobody else can; of a pipe without asking who.
    package static func read(_ path: String) throws(FileFailure) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        guard descriptor >= 0 else { throw FileFailure("open \(path)", errno: errno) }
        defer { close(descriptor) }
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { throw FileFailure("examine \(path)", errno: errno) }
        if info.st_mode & S_IFMT == S_IFREG { try FileTrust().check(info, path) }
        var content: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw FileFailure("read \(path)", errno: errno) }
            if count == 0 { return content }
            content += buffer.prefix(count)
        }
    }

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
