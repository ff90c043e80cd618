import Custody
import CustodyProtocol
import Logging
import NIOCore
import SecureMemory
import SwiftProtobuf
import Synchronization

/// What a connection is allowed.
struct ConnectionLimits: Sendable {
    var requestsInFlight: Int
    /// Bodies of requests that are not answered yet.
    var bytesInFlight: Int
    var defaultDeadline: Duration
    var longestDeadline: Duration
}

/// Tells a connection to end when its answers are written.
struct EndConnection: Sendable {}

/// One client's connection: cuts frames, hands requests to the custodian, writes answers in whatever order they come.
final class ConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let principal: Principal
    private let number: UInt64
    private let custodian: Custodian
    private let limits: ConnectionLimits
    private let log: Logger
    private let presence = CallerPresence()
    private var parser = FrameParser(limit: Frame.requestLimit)
    private var outbox: Outbox?
    private var inFlight = 0
    private var bytesInFlight = 0
    /// Answers that the kernel has not taken yet.
    private var unwritten = 0
    /// The client sends no more, or the server reads no more: the connection ends with the last answer.
    private var isEnding = false

    init(principal: Principal, number: UInt64, custodian: Custodian, limits: ConnectionLimits, log: Logger) {
        self.principal = principal
        self.number = number
        self.custodian = custodian
        self.limits = limits
        self.log = log
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        outbox = Outbox(context.eventLoop) { replies in
            let (handler, context) = bound.value
            handler.write(replies, context)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        // The outbox knows the handler and the handler the outbox: together they would outlive the connection.
        outbox = nil
        parser = FrameParser(limit: Frame.requestLimit)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isEnding else { return }
        var bytes = unwrapInboundIn(data)
        parser.append(&bytes)
        do throws(FrameError) {
            while let frame = try parser.next() { handle(frame, context) }
        } catch {
            refuse(error, context)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        presence.leave()
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .inputClosed? = event as? ChannelEvent { end(context) }
        if event is EndConnection { end(context) }
        context.fireUserInboundEventTriggered(event)
    }

    /// A client that does not read its answers is not read from either.
    func channelWritabilityChanged(context: ChannelHandlerContext) {
        context.channel.setOption(.autoRead, value: context.channel.isWritable).whenFailure { _ in }
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        log.debug("connection failed", metadata: ["connection": "\(number)", "cause": "\(error)"])
        context.close(promise: nil)
    }

    // MARK: Requests

    private func handle(_ frame: Frame, _ context: ChannelHandlerContext) {
        // The plaintext in the frame has been copied into the request by then.
        defer { frame.body.zeroize() }
        guard inFlight < limits.requestsInFlight else {
            return write(frame.requestID, .overloaded, "this connection has \(limits.requestsInFlight) requests in flight already", retryAfter: 50, context)
        }
        guard inFlight == 0 || bytesInFlight + frame.body.readableBytes <= limits.bytesInFlight else {
            return write(frame.requestID, .overloaded, "this connection has \(bytesInFlight) bytes of requests in flight already", retryAfter: 50, context)
        }
        let body = Array(frame.body.readableBytesView)
        defer { body.zeroize() }
        let request: WireRequest
        do {
            request = try WireRequest(serializedBytes: body)
        } catch {
            return write(frame.requestID, .invalidRequest, "the frame's body is not a Request message of custody.proto", context)
        }
        guard !request.operations.isEmpty, request.operations.count <= Frame.batchLimit else {
            return write(
                frame.requestID, .invalidRequest,
                "the request has \(request.operations.count) operations; it must have 1 to \(Frame.batchLimit)", context)
        }
        let labels: EncryptionContext
        do throws(CustodyError) {
            labels = try WireMapping.context(request.onBehalfOf)
        } catch {
            return write(frame.requestID, .invalidRequest, "on_behalf_of: \(error.message)", context)
        }
        let now = ContinuousClock.now
        let patience = request.deadlineMs == 0 ? limits.defaultDeadline : .milliseconds(request.deadlineMs)
        guard let outbox else { return }
        inFlight += 1
        bytesInFlight += body.count
        let (requestID, size) = (frame.requestID, body.count)
        custodian.submit(
            CustodyRequest(
                principal: principal, caller: presence, items: request.operations.map(WireMapping.item), onBehalfOf: labels,
                connection: number, request: requestID, arrival: now, deadline: now + min(patience, limits.longestDeadline))
        ) { reply in
            outbox.add(Outbox.Reply(requestID: requestID, requestSize: size, reply: reply))
        }
    }

    private func refuse(_ error: FrameError, _ context: ChannelHandlerContext) {
        isEnding = true
        switch error {
        case .notAFrame: break
        case .unsupported(let version, let flags, let requestID):
            write(
                requestID, .unsupportedProtocol,
                "protocol version \(version) with flags \(flags) is not known; this server speaks version \(Frame.protocolVersion) with flags 0",
                context)
        case .tooLarge(let length, let limit, let requestID):
            write(requestID, .frameTooLarge, "the frame's body has \(length) bytes; at most \(limit) are allowed", context)
        }
        log.info("not a client of ours", metadata: ["connection": "\(number)", "uid": "\(principal.uid)", "pid": "\(principal.pid)", "cause": "\(error)"])
        endIfDone(context)
    }

    // MARK: Answers

    private func write(
        _ requestID: UInt32, _ code: ErrorCode, _ message: String, retryAfter: Int = 0, _ context: ChannelHandlerContext
    ) {
        var buffer = context.channel.allocator.buffer(capacity: 256)
        append(requestID, WireMapping.response(WireMapping.error(code, message, retryAfter: retryAfter)), to: &buffer)
        send(buffer, context)
    }

    private func write(_ replies: [Outbox.Reply], _ context: ChannelHandlerContext) {
        inFlight -= replies.count
        bytesInFlight -= replies.reduce(0) { $0 + $1.requestSize }
        var buffer = context.channel.allocator.buffer(capacity: 384 * replies.count)
        for reply in replies { append(reply.requestID, WireMapping.response(reply.reply), to: &buffer) }
        send(buffer, context)
        endIfDone(context)
    }

    private func send(_ buffer: ByteBuffer, _ context: ChannelHandlerContext) {
        unwritten += 1
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        context.writeAndFlush(wrapOutboundOut(buffer)).whenComplete { _ in
            let (handler, context) = bound.value
            handler.unwritten -= 1
            handler.endIfDone(context)
        }
    }

    /// Ends the connection when what is under way is answered and the answers are with the kernel.
    func end(_ context: ChannelHandlerContext) {
        isEnding = true
        endIfDone(context)
    }

    private func append(_ requestID: UInt32, _ response: WireResponse, to buffer: inout ByteBuffer) {
        do {
            let body: [UInt8] = try response.serializedBytes()
            Frame.write(requestID: requestID, body: body, to: &buffer)
            body.zeroize()
        } catch {
            // Serialising fails for a missing required field or 2 GiB; neither exists here.
            log.critical("an answer can't be encoded", metadata: ["connection": "\(number)", "request": "\(requestID)"])
        }
    }

    private func endIfDone(_ context: ChannelHandlerContext) {
        // A close does not wait for writes: it would cut them off.
        if isEnding, inFlight == 0, unwritten == 0 { context.close(promise: nil) }
    }
}

/// Answers on their way from any thread to a connection's event loop. Answers that come while a delivery is on its way
/// travel with it, so that a batch costs one wake-up and one write.
private final class Outbox: Sendable {
    struct Reply: Sendable {
        let requestID: UInt32
        let requestSize: Int
        let reply: CustodyReply
    }

    private let eventLoop: any EventLoop
    private let deliver: @Sendable ([Reply]) -> Void
    private let waiting = Mutex<[Reply]>([])

    init(_ eventLoop: any EventLoop, deliver: @escaping @Sendable ([Reply]) -> Void) {
        self.eventLoop = eventLoop
        self.deliver = deliver
    }

    func add(_ reply: Reply) {
        let isFirst = waiting.withLock { waiting in
            waiting.append(reply)
            return waiting.count == 1
        }
        guard isFirst else { return }
        eventLoop.execute {
            self.deliver(self.waiting.withLock { waiting in
                defer { waiting = [] }
                return waiting
            })
        }
    }
}
