import CSystemShim
import CustodyProtocol
import Foundation
import NIOCore
import SwiftProtobuf
import TestSupport

/// A socket without any client between: to send what no client would send.
final class RawConnection {
    private let descriptor: Int32
    private var parser = FrameParser(limit: Frame.responseLimit)

    init(_ socket: String) throws {
        descriptor = csystem_connect_unix(socket)
        guard descriptor >= 0 else { throw POSIXFailure("connect", -descriptor) }
        // Only keeps a broken daemon from hanging the test.
        var patience = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { throw POSIXFailure("send") }
            sent += count
        }
    }

    /// Sends them with the last one out of band (MSG_OOB). Returns the errno, or 0.
    func sendUrgent(_ bytes: [UInt8]) -> Int32 {
        bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_OOB) | Int32(MSG_NOSIGNAL)) } == bytes.count ? 0 : errno
    }

    func send(_ request: WireRequest, id: UInt32 = 1) throws { try send(Self.frame(request, id: id)) }

    /// Sends on a thread of its own, until the daemon closes the connection or takes no more.
    func sendInBackground(_ bytes: [UInt8], times: Int, thenFinish finishes: Bool = false) {
        let own = dup(descriptor)
        Thread.detachNewThread {
            defer { close(own) }
            for _ in 0..<times {
                var sent = 0
                while sent < bytes.count {
                    let count = bytes[sent...].withUnsafeBytes { Glibc.send(own, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
                    guard count > 0 else { return }
                    sent += count
                }
            }
            if finishes { shutdown(own, Int32(SHUT_WR)) }
        }
    }

    /// Sends a byte with a descriptor (SCM_RIGHTS). Returns the errno, or 0.
    func sendDescriptor() -> Int32 {
        var byte: UInt8 = 0x43
        // struct cmsghdr and one int, as cmsg(3) lays them out on 64-bit Linux.
        var control: (length: Int, level: Int32, type: Int32, descriptor: Int32, padding: Int32) =
            (20, SOL_SOCKET, Int32(SCM_RIGHTS), STDIN_FILENO, 0)
        return withUnsafeMutablePointer(to: &byte) { byte in
            withUnsafeMutableBytes(of: &control) { control in
                var content = iovec(iov_base: byte, iov_len: 1)
                return withUnsafeMutablePointer(to: &content) { content in
                    var message = msghdr()
                    (message.msg_iov, message.msg_iovlen) = (content, 1)
                    (message.msg_control, message.msg_controllen) = (control.baseAddress, control.count)
                    return sendmsg(descriptor, &message, Int32(MSG_NOSIGNAL)) == 1 ? 0 : errno
                }
            }
        }
    }

    /// Ends the sending side.
    func finish() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// The next answer; nil if the daemon has closed the connection.
    func receive() throws -> (id: UInt32, response: WireResponse)? {
        while true {
            if let frame = try parser.next() {
                return (frame.requestID, try WireResponse(serializedBytes: Array(frame.body.readableBytesView)))
            }
            var chunk = [UInt8](repeating: 0, count: 65_536)
            let count = chunk.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) }
            if count == 0 || (count < 0 && errno == ECONNRESET) { return nil }
            guard count > 0 else { throw POSIXFailure("recv") }
            var bytes = ByteBuffer(bytes: chunk[..<count])
            parser.append(&bytes)
        }
    }

    static func frame(_ request: WireRequest, id: UInt32) throws -> [UInt8] {
        var buffer = ByteBuffer()
        Frame.write(requestID: id, body: try request.serializedBytes(), to: &buffer)
        return Array(buffer.readableBytesView)
    }

    static func header(version: UInt8 = 1, flags: UInt8 = 0, length: UInt32, id: UInt32) -> [UInt8] {
        [0x43, 0x44, version, flags] + [length, id].flatMap { number in withUnsafeBytes(of: number.bigEndian) { Array($0) } }
    }
}

extension WireRequest {
    init(_ operations: WireOperation...) {
        self = .with { $0.operations = operations }
    }
}

extension WireOperation {
    static func wrap(_ plaintext: [UInt8], key: String = "root", context: [(String, String)] = [("tenant", "acme")]) -> WireOperation {
        .with {
            $0.wrap = .with {
                $0.keyName = key
                $0.plaintext = Data(plaintext)
                $0.context = context.map { pair in .with { $0.key = pair.0; $0.value = pair.1 } }
            }
        }
    }

    static func unwrap(_ blob: [UInt8]) -> WireOperation {
        .with {
            $0.unwrap = .with {
                $0.blob = Data(blob)
                $0.context = [.with { $0.key = "tenant"; $0.value = "acme" }]
            }
        }
    }
}
