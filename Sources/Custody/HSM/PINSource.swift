import Glibc
import SecureMemory

/// Where a PIN comes from: a file that only its owner can read. It is read when it is needed and not kept.
public struct PINSource: Sendable, Hashable {
    public let path: String

    public init(path: String) { self.path = path }

    /// Reads the PIN; one line feed at the end does not count.
    ///
    /// - Throws: ``CustodyError`` with `tokenLocked`: the file is missing, belongs to somebody else, can be read or replaced by others,
    ///   is empty or is longer than 256 bytes.
    public func read() throws(CustodyError) -> SecretBytes {
        func refused(_ why: String) -> CustodyError { CustodyError(.tokenLocked, "the PIN file \(path) \(why)") }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
        guard descriptor >= 0 else { throw refused("can't be opened: \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { throw refused("can't be examined") }
        guard info.st_mode & S_IFMT == S_IFREG else { throw refused("is not a regular file") }
        // systemd gives a service its credential as root's file of mode 0440 whose access list names the service alone.
        let isCredential = info.st_uid == 0 && geteuid() != 0
        guard info.st_mode & (isCredential ? 0o037 : 0o077) == 0 else { throw refused("can be read by others; run chmod 600 on it") }
        guard info.st_uid == geteuid() || info.st_uid == 0 else {
            throw refused("belongs to uid \(info.st_uid), not to uid \(geteuid()) or root")
        }
        do throws(FileFailure) { try TrustedFolder.checkWay(to: path) } catch { throw refused("is not trusted: \(error)") }
        guard let pin = Self.read(descriptor: descriptor) else { throw refused("must hold a PIN of 1 to 256 bytes on one line") }
        return pin
    }

    /// Reads a PIN from an open descriptor to its end; nil unless it has 1 to 256 bytes.
    public static func read(descriptor: Int32) -> SecretBytes? {
        var buffer = [UInt8](repeating: 0, count: 258)
        var length = 0
        while length < buffer.count {
            let count = buffer.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress.map { $0 + length }, $0.count - length) }
            if count < 0 && errno == EINTR { continue }
            if count <= 0 { break }
            length += count
        }
        // A file from another system ends its line with CR LF; a CR taken for a part of the PIN would cost a try.
        if length > 0, buffer[length - 1] == UInt8(ascii: "\n") { length -= 1 }
        if length > 0, buffer[length - 1] == UInt8(ascii: "\r") { length -= 1 }
        let pin = SecretBytes(buffer[..<length])
        buffer.zeroize()
        return (1...256).contains(length) && pin.withBytes({ !$0.contains(0x0A) }) ? pin : nil
    }
}

extension RawSpan {
    fileprivate func contains(_ byte: UInt8) -> Bool {
        for offset in byteOffsets where unsafeLoad(fromByteOffset: offset, as: UInt8.self) == byte { return true }
        return false
    }
}
