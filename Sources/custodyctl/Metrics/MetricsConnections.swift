import NIOCore

/// All connections of the metrics' server. It lives on the event loop.
///
/// A few are enough for scrapers, and whoever can connect can hold as many open as he likes. So there is always room for one
/// more: it takes the place of the one that has waited longest without asking for anything.
final class MetricsConnections {
    private static let most = 64
    /// How often clocks are looked at.
    private static let tick = TimeAmount.milliseconds(250)

    private var connections: [ObjectIdentifier: MetricsConnection] = [:]

    private init() {}

    static func open(on eventLoop: any EventLoop) -> EventLoopFuture<NIOLoopBound<MetricsConnections>> {
        eventLoop.submit {
            let bound = NIOLoopBound(MetricsConnections(), eventLoop: eventLoop)
            eventLoop.scheduleRepeatedTask(initialDelay: tick, delay: tick) { _ in bound.value.lookAtClocks() }
            return bound
        }
    }

    func join(_ connection: MetricsConnection) {
        if connections.count >= Self.most, let oldest = connections.values.min(by: { $0.givesWay(before: $1) }) {
            leave(oldest)
            oldest.end()
        }
        connections[ObjectIdentifier(connection)] = connection
    }

    func leave(_ connection: MetricsConnection) { connections[ObjectIdentifier(connection)] = nil }

    private func lookAtClocks() {
        let now = NIODeadline.now()
        for connection in connections.values where connection.isLate(now) {
            leave(connection)
            connection.end()
        }
    }
}

/// One connection: how long it has waited for what, and how much it has sent.
final class MetricsConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private enum Phase {
        /// For a request since then; its first byte came at the other time.
        case waiting(since: NIODeadline, firstByte: NIODeadline?)
        /// A request is being answered, until its client has taken the answer.
        case answering(since: NIODeadline)
    }

    /// Scrapers keep connections for minutes.
    private static let idleLimit = TimeAmount.minutes(3)
    /// A request that has begun must be there within it.
    private static let requestLimit = TimeAmount.seconds(5)
    private static let answerLimit = TimeAmount.seconds(60)
    /// Bytes of a request with all that comes with it.
    private static let lengthLimit = 65_536

    private let all: MetricsConnections
    private var phase = Phase.waiting(since: .now(), firstByte: nil)
    private var received = 0
    private var context: ChannelHandlerContext?

    init(_ all: MetricsConnections) { self.all = all }

    /// Who waits gives way before who is answered, and of those the one that has done so for longer.
    func givesWay(before other: MetricsConnection) -> Bool {
        switch (phase, other.phase) {
        case (.waiting(let since, _), .waiting(let otherSince, _)): since < otherSince
        case (.answering(let since), .answering(let otherSince)): since < otherSince
        case (.waiting, .answering): true
        case (.answering, .waiting): false
        }
    }

    func isLate(_ now: NIODeadline) -> Bool {
        switch phase {
        case .waiting(_, let firstByte?): firstByte + Self.requestLimit <= now
        case .waiting(let since, nil): since + Self.idleLimit <= now
        case .answering(let since): since + Self.answerLimit <= now
        }
    }

    /// A whole request has come.
    func isAsked() {
        received = 0
        phase = .answering(since: .now())
    }

    func isAnswered() { phase = .waiting(since: .now(), firstByte: received > 0 ? .now() : nil) }

    func end() { context?.close(promise: nil) }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelActive(context: ChannelHandlerContext) {
        all.join(self)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        all.leave(self)
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        received += unwrapInboundIn(data).readableBytes
        if case .waiting(let since, nil) = phase { phase = .waiting(since: since, firstByte: .now()) }
        guard received <= Self.lengthLimit else { return context.close(promise: nil) }
        context.fireChannelRead(data)
    }
}
