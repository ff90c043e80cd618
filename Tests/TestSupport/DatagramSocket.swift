import CTestSupport
import Foundation

/// A Unix socket that others send datagrams to, as those of journald and of service managers are.
public final class DatagramSocket: Sendable {
    public let path: String
    private let descriptor: Int32

    public init(_ path: String) throws {
        self.path = path
        descriptor = ctest_datagram_socket(path)
        guard descriptor >= 0 else { throw POSIXFailure("bind \(path)", -descriptor) }
    }

    deinit {
        close(descriptor)
        unlink(path)
    }

    /// The next message, or what the memory file holds that came with it.
    public func receiveBytes() throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 4 << 20)
        let count = ctest_receive_entry(descriptor, &bytes, bytes.count)
        guard count >= 0 else { throw POSIXFailure("receive", Int32(-count)) }
        return Array(bytes.prefix(count))
    }

    /// The next message as text.
    public func receive() throws -> String { String(decoding: try receiveBytes(), as: UTF8.self) }
}
