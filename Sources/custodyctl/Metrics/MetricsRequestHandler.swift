import NIOCore
import NIOHTTP1

/// Answers one connection's requests, one after the other.
final class MetricsRequestHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let connection: MetricsConnection
    private let scrape: @Sendable () async -> String
    private var head: HTTPRequestHead?

    init(_ connection: MetricsConnection, _ scrape: @escaping @Sendable () async -> String) {
        self.connection = connection
        self.scrape = scrape
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        case .body: break
        case .end:
            guard let head else { return }
            self.head = nil
            connection.isAsked()
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
        let bound = NIOLoopBound((connection, context), eventLoop: context.eventLoop)
        let closes = !head.isKeepAlive
        context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in
            let (connection, context) = bound.value
            connection.isAnswered()
            if closes { context.close(promise: nil) }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
