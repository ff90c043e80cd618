import Glibc
import NIOCore
import NIOPosix

/// Asks the event loop for another turn, through the kernel.
///
/// An event loop runs its tasks, and those that they add, before it looks at its sockets again: work that put itself off by
/// `execute` would keep every client waiting. A byte on a socket of the loop's own comes among those of the clients.
final class Bell: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let descriptor: Int32
    private let farEnd: Int32
    private var onRing: (() -> Void)?

    /// - Throws: What keeps the process from having a pair of sockets.
    init() throws {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0, &ends) == 0 else {
            throw IOError(errnoCode: errno, reason: "socketpair")
        }
        (descriptor, farEnd) = (ends[0], ends[1])
    }

    deinit { close(descriptor) }

    /// Hangs it up on the loop, which owns one end from then on; on the loop.
    func hang(on eventLoop: any EventLoop, _ onRing: @escaping () -> Void) -> EventLoopFuture<Void> {
        self.onRing = onRing
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        return ClientBootstrap(group: eventLoop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(bound.value) }
            }
            .withConnectedSocket(farEnd)
            .map { _ in }
    }

    func ring() {
        var byte: UInt8 = 1
        // A full socket rings as well.
        _ = send(descriptor, &byte, 1, Int32(MSG_NOSIGNAL))
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { onRing?() }
}
