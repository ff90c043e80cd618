import Custody
import Glibc
import TOML

/// Reads the file of the configuration: a regular one, and not more of it than is ever taken.
enum ConfigurationFile {
    static func read(_ path: String) throws(ConfigurationError) -> [UInt8] {
        func refused(_ reason: String) -> ConfigurationError {
            ConfigurationError(problems: [.init(file: path, line: nil, message: "can't be read: \(reason); name another with --config")])
        }
        func failed() -> ConfigurationError { refused(String(cString: strerror(errno))) }
        // Without O_NONBLOCK a pipe in its place would hold a reload up for ever.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
        guard descriptor >= 0 else { throw failed() }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failed() }
        if status.st_mode & S_IFMT == S_IFDIR { throw refused(String(cString: strerror(EISDIR))) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw refused("it is no regular file") }
        do throws(FileFailure) {
            try FileTrust().check(status, path)
            try TrustedFolder.checkWay(to: path)
        } catch {
            throw ConfigurationError(problems: [.init(file: path, line: nil, message: "is not trusted: \(error)")])
        }
        var content: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        // One byte more than is taken shows that there is too much.
        while content.count <= TOMLDocument.sizeLimit {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failed() }
            if count == 0 { break }
            content.append(contentsOf: buffer[..<count])
        }
        return content
    }
}
