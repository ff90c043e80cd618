import NIOCore
import NIOPosix
import Synchronization

/// Somebody who answers in the place of a PostgreSQL server, on a free port of 127.0.0.1: has no TLS, asks for the password in
/// clear, and keeps what it is told.
public final class FakePostgreSQL: Sendable {
    private struct State {
        var told: [String] = []
        var connections = 0
    }

    private let state = Mutex(State())
    private let listener: Mutex<(any Channel)?> = Mutex(nil)

    private init() {}

    public static func start() async throws -> FakePostgreSQL {
        let fake = FakePostgreSQL()
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { [weak fake] channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let fake else { throw ChannelError.ioOnClosedChannel }
                    try channel.pipeline.syncOperations.addHandler(Visitor(fake))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        fake.listener.withLock { $0 = channel }
        return fake
    }

    deinit { listener.withLock { $0 }?.close(promise: nil) }

    public var port: Int { listener.withLock { $0?.localAddress?.port } ?? 0 }

    /// Every message but requests for encryption, as text: the user's name, then the password.
    public var told: [String] { state.withLock { $0.told } }

    public var connections: Int { state.withLock { $0.connections } }

    private final class Visitor: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let fake: FakePostgreSQL
        private var received = ByteBuffer()
        private var hasStarted = false

        init(_ fake: FakePostgreSQL) { self.fake = fake }

        func channelActive(context: ChannelHandlerContext) { fake.state.withLock { $0.connections += 1 } }

        /// "Message Formats" in PostgreSQL's manual.
        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            received.writeImmutableBuffer(unwrapInboundIn(data))
            // The first messages have no type.
            let offset = hasStarted ? 1 : 0
            while let length = received.getInteger(at: received.readerIndex + offset, as: UInt32.self), length >= 4,
                let message = received.readSlice(length: Int(length) + offset) {
                let isRequestForEncryption = !hasStarted && length == 8
                if isRequestForEncryption {
                    context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: "N")), promise: nil)
                    continue
                }
                fake.state.withLock { $0.told.append(String(decoding: message.readableBytesView, as: UTF8.self)) }
                guard !hasStarted else { return context.close(promise: nil) }
                hasStarted = true
                // AuthenticationCleartextPassword.
                context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: [UInt8(ascii: "R"), 0, 0, 0, 8, 0, 0, 0, 3])), promise: nil)
                return
            }
        }
    }
}
