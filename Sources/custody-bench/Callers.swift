import CSystemShim
import Custody
import CustodyProtocol
import Foundation
import Glibc
import NIOCore
import PKCS11
import SecureMemory
import SwiftProtobuf

/// One caller of a scenario: does one operation or batch at a time and waits for it.
protocol Caller {
    func call() throws
}

struct BenchError: Error, CustomStringConvertible {
    let description: String
}

/// The floor: C_EncryptInit and C_Encrypt in the bench's own process, each caller on a session of its own.
final class DirectCalls: Sendable {
    private let module: Module
    private let slot: SlotID
    private let login: Session
    private let key: ObjectHandle
    private let size: Int

    init(_ settings: TokenSettings, key name: String, size: Int) throws {
        module = try Module(settings.module, initializationString: settings.initializationString)
        slot = try module.token(matching: settings.uri).slot
        login = try module.openSession(slot, readWrite: false)
        try login.login(.user, pin: settings.pin.read())
        guard let key = try login.objects(.secretKey, matching: [.bool(.isPrivate, true), .label(name)]).last else {
            throw BenchError(description: "there is no key '\(name)' on the token")
        }
        self.key = key
        self.size = size
    }

    func caller() -> any Caller { DirectCaller(module: module, slot: slot, key: key, size: size) }

    func close() { try? module.finalize() }
}

private final class DirectCaller: Caller {
    private let session: Session?
    private let key: ObjectHandle
    private let plaintext: [UInt8]
    private let aad = [UInt8](repeating: 7, count: 36)

    init(module: Module, slot: SlotID, key: ObjectHandle, size: Int) {
        session = try? module.openSession(slot, readWrite: false)
        self.key = key
        plaintext = [UInt8](repeating: 0x5A, count: size)
    }

    func call() throws {
        var nonce: [UInt8] = []
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<2 { withUnsafeBytes(of: generator.next()) { nonce.append(contentsOf: $0) } }
        nonce.removeLast(4)
        var output: [UInt8] = []
        let (aad, plaintext) = (aad, plaintext)
        try session?.encryptGCM(key, nonce: nonce.span.bytes, aad: aad.span.bytes, plaintext: plaintext.span.bytes, appendingTo: &output)
    }
}

/// A caller on a blocking connection of its own, with no client library between: what is measured is the daemon.
final class FrameCaller: Caller {
    private let descriptor: Int32
    private let frame: [UInt8]
    private var parser = FrameParser(limit: Frame.responseLimit)
    private var chunk = [UInt8](repeating: 0, count: 65_536)
    private let batch: Int

    init(_ socket: String, key: String, size: Int, batch: Int) throws {
        descriptor = csystem_connect_unix(socket)
        guard descriptor >= 0 else { throw BenchError(description: "can't connect to \(socket): \(String(cString: strerror(-descriptor)))") }
        self.batch = batch
        let request = WireRequest.with {
            $0.operations = (0..<batch).map { _ in
                .with {
                    $0.wrap = .with {
                        $0.keyName = key
                        $0.plaintext = Data(repeating: 0x5A, count: size)
                        $0.context = [.with { $0.key = "tenant"; $0.value = "acme" }]
                    }
                }
            }
        }
        var buffer = ByteBuffer()
        Frame.write(requestID: 1, body: try request.serializedBytes(), to: &buffer)
        frame = Array(buffer.readableBytesView)
    }

    deinit { close(descriptor) }

    func call() throws {
        var sent = 0
        while sent < frame.count {
            let count = frame[sent...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { throw BenchError(description: "the daemon closed the connection") }
            sent += count
        }
        while true {
            if let answer = try parser.next() {
                // Every answer is looked at: an error counts as a failure of the run, not as a fast operation.
                let response = try WireResponse(serializedBytes: Array(answer.body.readableBytesView))
                guard response.results.count == batch, response.results.allSatisfy({ !$0.wrapped.blob.isEmpty }) else {
                    throw BenchError(description: "the daemon answered with an error: \(response)")
                }
                return
            }
            let count = chunk.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { throw BenchError(description: "the daemon closed the connection") }
            var bytes = ByteBuffer(bytes: chunk[..<count])
            parser.append(&bytes)
        }
    }
}
