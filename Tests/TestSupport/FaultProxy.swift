import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// Stands between a client and a KMS on a free port of 127.0.0.1, and does to requests what rules say.
///
/// ```swift
/// let proxy = try await FaultProxy.start(upstream: server.endpoint)
/// let fault = proxy.on("ScheduleKeyDeletion", .holdAnswer)
/// // … start a client at proxy.endpoint
/// try await fault.reached()
/// // … the key's deletion is scheduled, and the client does not know it
/// fault.release()
/// ```
///
/// A request is dealt with by the newest rule that is for it; one that no rule is for passes. Where a client goes away
/// while its request is held, nothing is left of it. Nothing is delayed by time.
public final class FaultProxy: Sendable {
    public enum Action: Sendable {
        /// Answers in the KMS's place, without asking it.
        case error(_ type: String, status: Int = 400, message: String = "", headers: [String: String] = [:])
        /// The same with any body.
        case respond(_ body: String, status: Int = 200, headers: [String: String] = [:])
        /// Closes the connection and does not ask the KMS.
        case dropRequest
        /// Has the KMS act, then closes the connection: the effect is there, the answer is lost.
        case dropAnswer
        /// Keeps the request until released. It never reaches the KMS if its client has gone by then.
        case holdRequest
        /// Has the KMS act, and keeps the answer until released.
        case holdAnswer
    }

    /// Which of the requests for an operation a rule is for. Those count that no newer rule was for.
    public enum Which: Sendable {
        case all
        case first(Int)
        case nth(Int)
    }

    /// A request as it arrived.
    public struct Request: Sendable {
        /// Such as `Encrypt`; empty if it names none.
        public let operation: String
        public let headers: HTTPHeaders
        public let body: [UInt8]

        /// The body's members, as text.
        public var text: String { String(decoding: body, as: UTF8.self) }
    }

    struct Answer: Sendable {
        let status: HTTPResponseStatus
        let headers: HTTPHeaders
        let body: ByteBuffer
    }

    private struct State {
        var faults: [Fault] = []
        var requests: [Request] = []
        var answers: [(operation: String, body: [UInt8])] = []
    }

    private let upstream: SocketAddress
    private let scheme: String
    private let listener: Mutex<(any Channel)?> = Mutex(nil)
    private let state = Mutex(State())

    private init(upstream: SocketAddress, scheme: String) {
        self.upstream = upstream
        self.scheme = scheme
    }

    /// - Parameters:
    ///   - upstream: Such as `http://127.0.0.1:4711`.
    ///   - tls: Adds a TLS server's handler to a connection's channel; then the endpoint is an `https://` one.
    public static func start(
        upstream: String, tls: (@Sendable (any Channel) throws -> Void)? = nil
    ) async throws -> FaultProxy {
        guard let url = URL(string: upstream), let host = url.host, let port = url.port else {
            throw NotInstalled(description: "'\(upstream)' is no address of a server")
        }
        let proxy = FaultProxy(upstream: try SocketAddress(ipAddress: host, port: port), scheme: tls == nil ? "http" : "https")
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { [weak proxy] channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let proxy else { throw ChannelError.ioOnClosedChannel }
                    try tls?(channel)
                    // Without NIO's help for pipelining: it stops reading during a request, and then nobody sees the client go.
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(withPipeliningAssistance: false)
                    try channel.pipeline.syncOperations.addHandler(Visitor(proxy))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        proxy.listener.withLock { $0 = channel }
        return proxy
    }

    deinit { listener.withLock { $0 }?.close(promise: nil) }

    public var endpoint: String { "\(scheme)://127.0.0.1:\(listener.withLock { $0?.localAddress?.port } ?? 0)" }

    /// Stops listening; afterwards nobody can connect.
    public func stop() async throws { try await listener.withLock { $0 }?.close().get() }

    /// Every request so far, in the order of their arrival.
    public var requests: [Request] { state.withLock { $0.requests } }

    public func requests(_ operation: String) -> [Request] { requests.filter { $0.operation == operation } }

    /// What the KMS itself has answered to an operation, whether the client heard of it or not.
    public func answers(_ operation: String) -> [[UInt8]] {
        state.withLock { $0.answers.filter { $0.operation == operation }.map(\.body) }
    }

    /// Adds a rule.
    @discardableResult
    public func on(_ operation: String, _ action: Action, _ which: Which = .all) -> Fault {
        let fault = Fault(operation, action, which)
        state.withLock { $0.faults.append(fault) }
        return fault
    }

    /// Ends all rules, and releases what they hold.
    public func reset() {
        let faults = state.withLock { state in
            defer { state.faults = [] }
            return state.faults
        }
        for fault in faults { fault.release() }
    }

    // MARK: Dealing with a request

    /// - Returns: nil if the connection is to be closed.
    fileprivate func answer(_ request: Request, on channel: any Channel) -> EventLoopFuture<Answer?> {
        let fault = state.withLock { state in
            state.requests.append(request)
            return state.faults.last { $0.isFor(request) }
        }
        let loop = channel.eventLoop
        switch fault?.action {
        case nil: return forward(request, loop).map { $0 }
        case .error(let type, let status, let message, let headers):
            let body = (try? JSONEncoder().encode(["__type": type, "message": message])) ?? Data()
            return loop.makeSucceededFuture(Self.answer(body, status, headers))
        case .respond(let body, let status, let headers):
            return loop.makeSucceededFuture(Self.answer(Data(body.utf8), status, headers))
        case .dropRequest: return loop.makeSucceededFuture(nil)
        case .dropAnswer: return forward(request, loop).map { _ in nil }
        case .holdRequest:
            return hold(fault, channel).flatMap { channel.isActive ? self.forward(request, loop).map { $0 } : loop.makeSucceededFuture(nil) }
        case .holdAnswer:
            return forward(request, loop).flatMap { answer in self.hold(fault, channel).map { answer } }
        }
    }

    /// Ends when the fault is released, or when the client has gone.
    private func hold(_ fault: Fault?, _ channel: any Channel) -> EventLoopFuture<Void> {
        let promise = channel.eventLoop.makePromise(of: Void.self)
        let once = Mutex(false)
        let end: @Sendable () -> Void = {
            let isFirst = once.withLock { isEnded in
                defer { isEnded = true }
                return !isEnded
            }
            if isFirst { promise.succeed() }
        }
        channel.closeFuture.whenComplete { _ in end() }
        fault?.hold(end)
        return promise.futureResult
    }

    private static func answer(_ body: Data, _ status: Int, _ headers: [String: String]) -> Answer {
        var all = HTTPHeaders(headers.map { ($0.key, $0.value) })
        if !all.contains(name: "Content-Type") { all.add(name: "Content-Type", value: "application/x-amz-json-1.1") }
        return Answer(status: HTTPResponseStatus(statusCode: status), headers: all, body: ByteBuffer(bytes: body))
    }

    private func forward(_ request: Request, _ loop: any EventLoop) -> EventLoopFuture<Answer> {
        let promise = loop.makePromise(of: Answer.self)
        ClientBootstrap(group: loop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    try channel.pipeline.syncOperations.addHandler(Errand(request, promise))
                }
            }
            .connect(to: upstream)
            .whenFailure { error in promise.fail(error) }
        promise.futureResult.whenSuccess { answer in
            self.state.withLock { $0.answers.append((request.operation, Array(answer.body.readableBytesView))) }
        }
        return promise.futureResult.flatMapErrorThrowing { error in
            Self.answer(Data("the KMS behind the proxy can't be reached: \(error)".utf8), 502, ["Content-Type": "text/plain"])
        }
    }
}

extension FaultProxy {
    /// A rule that was set, and what it holds.
    public final class Fault: Sendable {
        private struct State {
            var seen = 0
            var struck = 0
            var isReleased = false
            var held: [@Sendable () -> Void] = []
        }

        private let operation: String
        fileprivate let action: Action
        private let which: Which
        private let state = Mutex(State())

        fileprivate init(_ operation: String, _ action: Action, _ which: Which) {
            self.operation = operation
            self.action = action
            self.which = which
        }

        /// How many requests it was for.
        public var count: Int { state.withLock { $0.struck } }

        /// Waits until it holds a request or an answer, or has held one.
        public func reached() async throws {
            try await eventually("a held \(operation)") { self.state.withLock { $0.isReleased || !$0.held.isEmpty } }
        }

        /// Lets go what is held, and whatever would be held later.
        public func release() {
            let held = state.withLock { state in
                state.isReleased = true
                defer { state.held = [] }
                return state.held
            }
            for end in held { end() }
        }

        fileprivate func isFor(_ request: Request) -> Bool {
            guard request.operation == operation else { return false }
            return state.withLock { state in
                state.seen += 1
                let isMeant =
                    switch which {
                    case .all: true
                    case .first(let count): state.seen <= count
                    case .nth(let number): state.seen == number
                    }
                if isMeant { state.struck += 1 }
                return isMeant
            }
        }

        fileprivate func hold(_ end: @escaping @Sendable () -> Void) {
            let isReleased = state.withLock { state in
                if !state.isReleased { state.held.append(end) }
                return state.isReleased
            }
            if isReleased { end() }
        }
    }
}

/// A client's connection.
private final class Visitor: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let proxy: FaultProxy
    private var head: HTTPRequestHead?
    private var body = ByteBuffer()

    init(_ proxy: FaultProxy) { self.proxy = proxy }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            body = ByteBuffer()
        case .body(var piece): body.writeBuffer(&piece)
        case .end:
            guard let head else { return }
            let target = head.headers.first(name: "X-Amz-Target") ?? ""
            let operation = target.split(separator: ".").last.map(String.init) ?? ""
            let request = FaultProxy.Request(operation: operation, headers: head.headers, body: Array(body.readableBytesView))
            let channel = context.channel
            proxy.answer(request, on: channel).whenComplete { result in
                guard case .success(let answer?) = result else { return channel.close(promise: nil) }
                Self.write(answer, to: channel)
            }
        }
    }

    private static func write(_ answer: FaultProxy.Answer, to channel: any Channel) {
        var headers = answer.headers
        for name in ["Content-Length", "Transfer-Encoding", "Connection"] { headers.remove(name: name) }
        headers.add(name: "Content-Length", value: "\(answer.body.readableBytes)")
        channel.write(HTTPServerResponsePart.head(HTTPResponseHead(version: .http1_1, status: answer.status, headers: headers)), promise: nil)
        channel.write(HTTPServerResponsePart.body(.byteBuffer(answer.body)), promise: nil)
        channel.writeAndFlush(HTTPServerResponsePart.end(nil), promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

/// One request to the KMS, on a connection of its own.
private final class Errand: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let request: FaultProxy.Request
    private let promise: EventLoopPromise<FaultProxy.Answer>
    private var isAnswered = false
    private var head: HTTPResponseHead?
    private var body = ByteBuffer()

    init(_ request: FaultProxy.Request, _ promise: EventLoopPromise<FaultProxy.Answer>) {
        self.request = request
        self.promise = promise
    }

    func channelActive(context: ChannelHandlerContext) {
        var headers = request.headers
        // As it was signed, but for what concerns the connection.
        headers.replaceOrAdd(name: "Connection", value: "close")
        let head = HTTPRequestHead(version: .http1_1, method: .POST, uri: "/", headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: request.body)))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        case .body(var piece): body.writeBuffer(&piece)
        case .end:
            guard let head else { return }
            end(.success(FaultProxy.Answer(status: head.status, headers: head.headers, body: body)))
            context.close(promise: nil)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end(.failure(error))
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { end(.failure(ChannelError.eof)) }

    private func end(_ result: Result<FaultProxy.Answer, any Error>) {
        guard !isAnswered else { return }
        isAnswered = true
        promise.completeWith(result)
    }
}
