import ArgumentParser
import CSystemShim
import Custody
import CustodyProtocol
import CustodyServer
import Foundation
import Glibc
import NIOCore
import PKCS11
import SwiftProtobuf

/// The floor for anything in a process of its own: a blocking thread and a session per connection; read, C_Encrypt, write.
/// It looks into no request, knows no policy and writes no audit. Its CPU time is what the daemon's is held against.
struct SmallestServer: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "smallest-server", abstract: "Serve the bench's requests with nothing but the HSM call.", shouldDisplay: false)

    @Option var config: String
    @Option var key: String
    @Option var size: Int
    @Option var socket: String

    func run() throws {
        let configuration = try Configuration(contentsOf: config)
        for (name, value) in configuration.environment { setenv(name, value, 1) }
        let direct = try DirectCalls(configuration.token, key: key, size: size)
        signal(SIGPIPE, SIG_IGN)
        let listener = csystem_listen_unix(socket, 0o600, 128)
        guard listener >= 0 else { throw BenchError(description: "can't listen on \(socket)") }
        let response = WireResponse.with {
            $0.results = [.with { $0.wrapped = .with { $0.blob = Data(repeating: 1, count: size + 50); $0.keyName = key } }]
        }
        var buffer = ByteBuffer()
        Frame.write(requestID: 1, body: try response.serializedBytes(), to: &buffer)
        let answer = Array(buffer.readableBytesView)
        // Made for the daemon's door, which polls; this one simply waits.
        _ = fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) & ~O_NONBLOCK)
        while true {
            let connection = accept(listener, nil, nil)
            guard connection >= 0 else { continue }
            Thread { Self.serve(connection, direct.caller(), answer) }.start()
        }
    }

    private static func serve(_ descriptor: Int32, _ caller: any Caller, _ answer: [UInt8]) {
        var chunk = [UInt8](repeating: 0, count: 4_096)
        defer { close(descriptor) }
        // The bench's callers send one small frame and wait, so a read is a frame.
        while chunk.withUnsafeMutableBytes({ read(descriptor, $0.baseAddress, $0.count) }) > 0 {
            do { try caller.call() } catch { return }
            guard answer.withUnsafeBytes({ write(descriptor, $0.baseAddress, $0.count) }) == answer.count else { return }
        }
    }
}
