import CTestSupport
import Foundation

/// What journald does with its socket.
public final class JournalDouble: Sendable {
    private let descriptor: Int32
    private let path: String

    public init(_ path: String) throws {
        self.path = path
        descriptor = ctest_datagram_socket(path)
        guard descriptor >= 0 else { throw POSIXFailure("bind \(path)", -descriptor) }
    }

    deinit {
        close(descriptor)
        unlink(path)
    }

    /// The fields of the next entry.
    public func receive() throws -> [String: String] {
        var bytes = [UInt8](repeating: 0, count: 4 << 20)
        let count = ctest_receive_entry(descriptor, &bytes, bytes.count)
        guard count >= 0 else { throw POSIXFailure("receive", Int32(-count)) }
        var fields: [String: String] = [:]
        for line in bytes.prefix(count).split(separator: 0x0A) {
            let text = String(decoding: line, as: UTF8.self)
            guard let sign = text.firstIndex(of: "=") else { continue }
            fields[String(text[..<sign])] = String(text[text.index(after: sign)...])
        }
        return fields
    }
}
