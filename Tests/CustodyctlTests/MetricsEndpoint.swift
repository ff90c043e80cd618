import Foundation
import TestSupport

/// `custodyctl metrics --listen`, without a daemon behind it.
final class MetricsEndpoint: Sendable {
    let port: UInt16
    private let process: ChildProcess

    init() async throws {
        process = try ChildProcess("custodyctl", arguments: ["metrics", "--listen", "127.0.0.1:0", "--socket", "/nowhere/custody.sock"])
        let url = try await process.line(containing: "serving http://127.0.0.1:")
        let digits = url.split(separator: ":").last?.prefix { $0.isNumber } ?? ""
        guard let port = UInt16(digits) else { throw UnexpectedResult("no port in '\(url)'", process) }
        self.port = port
    }

    /// What a scraper gets.
    func scrape() async throws -> String {
        let result = try await run("curl", arguments: ["--silent", "--show-error", "--fail", "--max-time", "60", "http://127.0.0.1:\(port)/metrics"])
        guard result.status == .exited(0) else { throw UnexpectedResult(result) }
        return result.output
    }
}

/// A TCP connection, to send what no HTTP client would send.
final class HTTPConnection {
    private let descriptor: Int32

    init(port: UInt16, receiveBuffer: Int32? = nil) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw POSIXFailure("socket") }
        // Only keeps a broken server from hanging the test.
        var patience = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        if var size = receiveBuffer { setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size)) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        guard result == 0 else { throw POSIXFailure("connect") }
    }

    deinit { close(descriptor) }

    func send(_ text: String) throws {
        let bytes = Array(text.utf8)
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { throw POSIXFailure("send") }
            sent += count
        }
    }

    /// What comes until the other side closes the connection, or until a text is there.
    func receive(until text: String? = nil) throws -> String {
        var received: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count < 0, errno == EAGAIN { throw POSIXFailure("recv") }
            // Reset is closed as well.
            if count <= 0 { return String(decoding: received, as: UTF8.self) }
            received += buffer[..<count]
            if let text, String(decoding: received, as: UTF8.self).contains(text) { return String(decoding: received, as: UTF8.self) }
        }
    }
}
