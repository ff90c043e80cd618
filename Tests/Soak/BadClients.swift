import CSystemShim
import CustodyProtocol
import Foundation
import NIOCore
import SwiftProtobuf

/// Clients that vanish in the middle, do not read, send garbage, or wait with half a frame. What they are answered is not
/// looked at: they must not hurt the others, nor leave anything behind.
struct BadClients: Sendable {
    let site: Site
    let world: World
    let book: Book
    let plan: Plan

    private static let kinds = [
        "vanishing client", "client that vanishes in a frame", "slow reader", "half-open client", "garbage", "flood of connections",
    ]

    func run() async {
        var random = RandomSource(seed: plan.seed, part: "bad clients")
        var due = Self.kinds.shuffled(using: &random)
        while !world.isOver {
            try? await Task.sleep(for: random.pause(mean: plan.pause))
            guard world.enter() else { continue }
            let kind = due.popLast() ?? random.element(Self.kinds)
            book.count("did \(kind)")
            await misbehave(kind, &random)
            world.left()
        }
    }

    private func misbehave(_ kind: String, _ random: inout RandomSource) async {
        guard let socket = BareSocket(site.socket) else { return }
        switch kind {
        case "vanishing client":
            for id in 1...UInt32(random.duration(1...60).inMilliseconds) { socket.send(frame(id, &random)) }
        case "client that vanishes in a frame":
            let bytes = frame(1, &random)
            socket.send(Array(bytes.prefix(Int.random(in: 1..<bytes.count, using: &random))))
        case "slow reader":
            for id in 1...200 { socket.send(frame(UInt32(id), &random)) }
            for _ in 0..<100 where !world.isOver {
                socket.receive(upTo: 3)
                try? await Task.sleep(for: .milliseconds(10))
            }
        case "half-open client":
            socket.send(frame(1, &random))
            socket.finish()
            try? await Task.sleep(for: .milliseconds(100))
        case "garbage":
            socket.send(random.bytes(Int.random(in: 1...4_000, using: &random)))
            try? await Task.sleep(for: .milliseconds(20))
        default:
            let more = (0..<50).map { _ in BareSocket(site.socket) }
            try? await Task.sleep(for: .milliseconds(50))
            withExtendedLifetime(more) {}
        }
        withExtendedLifetime(socket) {}
    }

    private func frame(_ id: UInt32, _ random: inout RandomSource) -> [UInt8] {
        let request = WireRequest.with {
            $0.operations = [.with {
                $0.wrap = .with {
                    $0.keyName = "root"
                    $0.plaintext = Data(random.bytes(random.oneIn(10) ? 60_000 : 200))
                }
            }]
        }
        guard let body: [UInt8] = try? request.serializedBytes() else { return [] }
        var buffer = ByteBuffer()
        Frame.write(requestID: id, body: body, to: &buffer)
        return Array(buffer.readableBytesView)
    }
}

/// A connected socket that never waits.
final class BareSocket: Sendable {
    private let descriptor: Int32

    init?(_ path: String) {
        descriptor = csystem_connect_unix(path)
        guard descriptor >= 0 else { return nil }
    }

    deinit { close(descriptor) }

    func send(_ bytes: [UInt8]) {
        _ = bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)) }
    }

    func receive(upTo count: Int) {
        var bytes = [UInt8](repeating: 0, count: count)
        _ = bytes.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT)) }
    }

    func finish() { shutdown(descriptor, Int32(SHUT_WR)) }
}
