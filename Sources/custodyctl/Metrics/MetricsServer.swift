import NIOCore
import NIOHTTP1
import NIOPosix
import ToolSupport

/// Serves `GET /metrics` over HTTP to a Prometheus server: a small process of its own, so that the daemon, which has the HSM,
/// listens on no network.
struct MetricsServer {
    /// The address and port to listen on.
    struct Address {
        let host: String
        let port: Int

        /// - Parameter text: Such as `127.0.0.1:9464` or `[::1]:9464`.
        init(_ text: String) throws(ToolError) {
            func refused() -> ToolError { ToolError("usage", "--listen '\(text)' is not ADDRESS:PORT, such as 127.0.0.1:9464 or [::1]:9464", exit: ToolExit.usage) }
            guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]), (0...65_535).contains(port) else {
                throw refused()
            }
            var host = text[..<colon]
            if host.hasPrefix("["), host.hasSuffix("]") {
                host = host.dropFirst().dropLast()
            } else if host.contains(":") {
                throw refused()
            }
            guard !host.isEmpty else { throw refused() }
            self.host = String(host)
            self.port = port
        }
    }

    let address: Address
    let scrape: @Sendable () async -> String

    /// Serves until the task is cancelled.
    ///
    /// - Parameter onListening: Told the address that it listens on.
    func run(onListening: (String) -> Void) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let limit = ConnectionLimit()
        let scrape = scrape
        do {
            let channel = try await ServerBootstrap(group: group)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let pipeline = channel.pipeline.syncOperations
                        try pipeline.addHandler(limit.handler)
                        try pipeline.addHandler(IdleStateHandler(allTimeout: .seconds(60)))
                        try pipeline.configureHTTPServerPipeline(withErrorHandling: true)
                        try pipeline.addHandler(MetricsRequestHandler(scrape))
                    }
                }
                .bind(host: address.host, port: address.port).get()
            onListening(channel.localAddress.map { "\($0.ipAddress ?? ""):\($0.port ?? 0)" } ?? "")
            try await withTaskCancellationHandler { try await channel.closeFuture.get() } onCancel: { channel.close(promise: nil) }
            try await group.shutdownGracefully()
        } catch {
            try? await group.shutdownGracefully()
            throw ToolError("listen-failed", "can't listen on \(address.host):\(address.port): \(error); give another --listen", exit: ToolExit.unavailable)
        }
    }
}

/// No more connections than a few scrapers need: whoever comes on top is closed.
private final class ConnectionLimit: Sendable {
    private static let most = 64

    /// Counts on the one event loop that there is.
    private final class Handler: ChannelInboundHandler, @unchecked Sendable {  // Unchecked: one event loop uses it.
        typealias InboundIn = ByteBuffer
        private var count = 0

        func channelActive(context: ChannelHandlerContext) {
            count += 1
            if count > ConnectionLimit.most { return context.close(promise: nil) }
            context.fireChannelActive()
        }

        func channelInactive(context: ChannelHandlerContext) {
            count -= 1
            context.fireChannelInactive()
        }
    }

    private let shared = Handler()
    var handler: any ChannelHandler & Sendable { shared }
}

/// Answers one connection's requests, one after the other.
private final class MetricsRequestHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let scrape: @Sendable () async -> String
    private var head: HTTPRequestHead?

    init(_ scrape: @escaping @Sendable () async -> String) { self.scrape = scrape }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        case .body: break
        case .end:
            guard let head else { return }
            self.head = nil
            answer(head, context)
        }
    }

    private func answer(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        guard head.method == .GET || head.method == .HEAD else { return write(.methodNotAllowed, "GET only\n", head, context) }
        guard head.uri.split(separator: "?").first == "/metrics" else { return write(.notFound, "see /metrics\n", head, context) }
        let scrape = scrape
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        context.eventLoop.makeFutureWithTask { await scrape() }.whenSuccess { text in
            let (handler, context) = bound.value
            handler.write(.ok, text, head, context)
        }
    }

    private func write(_ status: HTTPResponseStatus, _ text: String, _ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        guard context.channel.isActive else { return }
        var headers = HTTPHeaders([
            ("content-type", status == .ok ? PrometheusText.contentType : "text/plain"), ("content-length", "\(text.utf8.count)"),
        ])
        if !head.isKeepAlive { headers.add(name: "connection", value: "close") }
        context.write(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: status, headers: headers))), promise: nil)
        if head.method != .HEAD { context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: text)))), promise: nil) }
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        let closes = !head.isKeepAlive
        context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in
            if closes { bound.value.close(promise: nil) }
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is IdleStateHandler.IdleStateEvent { context.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
