import Custody
import CustodyProtocol
import DequeModule
import Glibc
import Logging
import NIOCore
import SecureMemory
import SwiftProtobuf

/// Tells a connection to end when what has arrived is answered.
struct EndConnection: Sendable {}

/// One client's connection: cuts frames, hands requests to the custodian, writes answers in whatever order they come.
///
/// A request is in flight from its frame's header until the kernel has taken its answer. Past what a connection may have in
/// flight, or while the client does not take answers, nothing is read: the client waits, and what it sends stays with it.
final class ConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Who is connected.
    struct Client: Sendable {
        let principal: Principal
        let account: DoorBudget.Account
        let number: UInt64
        /// The channel's, which closes it.
        let descriptor: CInt
    }

    private enum Intake {
        case open
        /// The client sends no more; what is here is served.
        case ended
        /// Nothing more is served; the connection ends with the last answer.
        case closed
    }

    /// What a request and each of its operations count besides their bytes.
    static let overhead = 1_024
    /// About as many bytes of answers are encoded at once; the others wait as they are.
    private static let writeLength = 65_536

    private let client: Client
    private let custodian: Custodian
    private let limits: DoorLimits
    private let reception: Reception
    private let presence = CallerPresence()
    private var context: ChannelHandlerContext?
    private var parser = FrameParser(limit: Frame.requestLimit)
    private var outbox: Outbox?
    private var intake = Intake.open
    /// What the frame that has begun to come has taken of the budget.
    private var begun: Int?
    private var inFlight = 0
    private var bytesInFlight = 0
    /// Answers that are not encoded yet.
    private var answers = Deque<Outbox.Reply>()
    /// Writes that the kernel has not taken yet.
    private var unwritten = 0
    /// It waits until answers are taken.
    private var isFull = false
    private var isReading = true
    /// It stands in the reception's line.
    var isWaiting = false
    private var frameSince: ContinuousClock.Instant?
    private var writingSince: ContinuousClock.Instant?
    private var latestRequest = ContinuousClock.now

    init(_ client: Client, _ custodian: Custodian, _ reception: Reception) {
        self.client = client
        self.custodian = custodian
        self.reception = reception
        limits = reception.budget.limits
    }

    var number: UInt64 { client.number }
    var account: DoorBudget.Account { client.account }
    private var budget: DoorBudget { reception.budget }

    // MARK: Events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        outbox = Outbox(context.eventLoop) { bound.value.deliver($0) }
        reception.join(self)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        reception.leave(self)
        // The outbox knows the handler and the handler the outbox: together they would outlive the connection.
        outbox = nil
        parser = FrameParser(limit: Frame.requestLimit)
        self.context = nil
        dropBegun()
        for answer in answers { release(requests: 1, bytes: answer.bytes) }
        answers = []
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard intake != .closed else { return }
        var bytes = unwrapInboundIn(data)
        parser.append(&bytes)
        if !isWaiting, !isFull { reception.offer(self) }
        settleReading()
    }

    func channelInactive(context: ChannelHandlerContext) {
        presence.leave()
        intake = .closed
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .inputClosed? = event as? ChannelEvent, intake == .open {
            intake = .ended
            endIfDone()
        }
        if event is EndConnection { takeNoMore() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        pump()
        resume()
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        reception.log.logger.debug("connection failed", metadata: ["connection": "\(number)", "cause": "\(error)"])
        context.close(promise: nil)
    }

    // MARK: Intake

    /// Whether a frame could be served now.
    var wantsService: Bool { intake != .closed && !isFull && parser.hasFrame }

    /// What serving the next frame counts.
    var nextWeight: Int { Self.weight((try? parser.header())?.length ?? 0) }

    private static func weight(_ length: Int) -> Int { 1 + length / 4_096 }

    /// Serves one frame, or turns it away. Returns what that counts; nil if there is none, or no room for it.
    func serveNext() -> Int? {
        guard intake != .closed, let context else { return nil }
        guard context.channel.isWritable, begun != nil || inFlight < limits.requestsInFlight else { return waitForRoom() }
        do throws(FrameError) {
            guard let header = try parser.header() else { return waitForBytes() }
            if begun == nil {
                let bytes = header.length + Self.overhead
                guard inFlight == 0 || bytesInFlight + bytes <= limits.memoryPerConnection else { return waitForRoom() }
                if let refusal = admit(bytes) {
                    try parser.skip()
                    frameSince = nil
                    answer(header.requestID, .overloaded, refusal.message, retryAfter: 50)
                    return 1
                }
                begun = bytes
            }
            guard let frame = try parser.next() else { return waitForBytes() }
            frameSince = nil
            let taken = begun ?? 0
            begun = nil
            handle(frame, taken)
            return Self.weight(header.length)
        } catch {
            refuse(error)
            return 1
        }
    }

    private func waitForRoom() -> Int? {
        isFull = true
        frameSince = nil
        return nil
    }

    private func waitForBytes() -> Int? {
        frameSince = parser.isWithinFrame ? frameSince ?? .now : nil
        return nil
    }

    /// Reads from the client, or no more for now.
    func settleReading() {
        let reads = intake == .open && !isWaiting && !isFull
        guard reads != isReading, let channel = context?.channel else { return }
        isReading = reads
        try? channel.syncOptions?.setOption(.autoRead, value: reads)
    }

    /// Goes on if answers were taken. Not for every single one: stopping and going on have their price.
    private func resume() {
        guard isFull, let context, context.channel.isWritable, inFlight <= limits.requestsInFlight * 3 / 4 else { return }
        isFull = false
        if parser.hasFrame { reception.enqueue(self) } else { _ = serveNext() }
        settleReading()
    }

    private func admit(_ bytes: Int) -> DoorBudget.Refusal? {
        do throws(DoorBudget.Refusal) {
            try budget.admitRequest(bytes: bytes, of: account)
            inFlight += 1
            bytesInFlight += bytes
            return nil
        } catch {
            return error
        }
    }

    private func release(requests: Int, bytes: Int) {
        inFlight -= requests
        bytesInFlight -= bytes
        budget.release(requests: requests, bytes: bytes, of: account)
    }

    private func dropBegun() {
        guard let bytes = begun else { return }
        begun = nil
        release(requests: 1, bytes: bytes)
    }

    // MARK: Requests

    private func handle(_ frame: Frame, _ taken: Int) {
        // The plaintext in the frame has been copied into the request by then.
        defer { frame.body.zeroize() }
        latestRequest = .now
        guard let outbox else { return release(requests: 1, bytes: taken) }
        let body = Array(frame.body.readableBytesView)
        let held: Int
        do throws(RequestRejection) {
            held = try take(RequestShape.judging(body))
        } catch {
            body.zeroize()
            return answer(frame.requestID, error.code, error.message, retryAfter: error.retryAfter, requests: 1, bytes: taken)
        }
        let request = ReceivedRequest(
            client: client, presence: presence, body: body, requestID: frame.requestID, bytes: taken + held, arrival: latestRequest,
            outbox: outbox)
        guard body.count > LongRequests.threshold else { return request.submit(to: custodian, limits) }
        let (custodian, limits) = (custodian, limits)
        reception.longRequests.run(length: body.count, of: account) { request.submit(to: custodian, limits) }
    }

    /// Takes of the budget what a request holds besides its bytes.
    private func take(_ shape: RequestShape) throws(RequestRejection) -> Int {
        // Its lines are held until they are written.
        let bytes = shape.operations * Self.overhead + shape.logBytes
        do throws(DoorBudget.Refusal) {
            try budget.grow(by: bytes, of: account)
        } catch {
            throw RequestRejection(code: .overloaded, message: error.message, retryAfter: 50)
        }
        bytesInFlight += bytes
        return bytes
    }

    // MARK: Answers

    private func answer(
        _ requestID: UInt32, _ code: ErrorCode, _ message: String, retryAfter: Int = 0, requests: Int = 0, bytes: Int = 0
    ) {
        guard let context else { return release(requests: requests, bytes: bytes) }
        var buffer = context.channel.allocator.buffer(capacity: 256)
        let rejection = RequestRejection(code: code, message: message, retryAfter: retryAfter)
        append(requestID, WireMapping.response(.failure(rejection)), to: &buffer)
        send(buffer, requests: requests, bytes: bytes)
    }

    private func deliver(_ replies: [Outbox.Reply]) {
        guard context != nil else {
            for reply in replies { release(requests: 1, bytes: reply.bytes) }
            return
        }
        answers.append(contentsOf: replies)
        pump()
    }

    /// Encodes and writes answers while the client takes them.
    private func pump() {
        while let context, context.channel.isWritable, !answers.isEmpty {
            var buffer = context.channel.allocator.buffer(capacity: min(384 * answers.count, Self.writeLength))
            var (requests, bytes) = (0, 0)
            while buffer.readableBytes < Self.writeLength, let answer = answers.popFirst() {
                append(answer.requestID, WireMapping.response(answer.content), to: &buffer)
                requests += 1
                bytes += answer.bytes
            }
            send(buffer, requests: requests, bytes: bytes)
        }
    }

    /// Writes answers to so many requests.
    private func send(_ buffer: ByteBuffer, requests: Int, bytes: Int) {
        guard let context else { return release(requests: requests, bytes: bytes) }
        if unwritten == 0 { writingSince = .now }
        unwritten += 1
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.writeAndFlush(wrapOutboundOut(buffer)).whenComplete { _ in
            let handler = bound.value
            handler.unwritten -= 1
            handler.writingSince = handler.unwritten == 0 ? nil : .now
            handler.release(requests: requests, bytes: bytes)
            handler.resume()
            handler.endIfDone()
        }
    }

    private func append(_ requestID: UInt32, _ response: WireResponse, to buffer: inout ByteBuffer) {
        do {
            let body: [UInt8] = try response.serializedBytes()
            Frame.write(requestID: requestID, body: body, to: &buffer)
            body.zeroize()
        } catch {
            // Serialising fails for a missing required field or 2 GiB; neither exists here.
            reception.log.logger.critical("an answer can't be encoded", metadata: ["connection": "\(number)", "request": "\(requestID)"])
        }
    }

    // MARK: The end

    private func refuse(_ error: FrameError) {
        switch error {
        case .notAFrame: break
        case .unsupported(let version, let flags, let requestID):
            answer(
                requestID, .unsupportedProtocol,
                "protocol version \(version) with flags \(flags) is not known; this server speaks version \(Frame.protocolVersion) with flags 0")
        case .tooLarge(let length, let limit, let requestID):
            answer(requestID, .frameTooLarge, "the frame's body has \(length) bytes; at most \(limit) are allowed")
        }
        note("not a client of ours", "\(error)")
        refuseMore()
    }

    /// Lets the client send no more. What it has sent until now is still read and answered, up to the end that the kernel then
    /// shows: the connection ends as one whose client has sent all that it wants.
    private func takeNoMore() {
        guard intake == .open, let context, context.channel.isActive else { return }
        shutdown(client.descriptor, Int32(SHUT_RD))
    }

    /// Serves nothing more and ends with the last answer.
    private func refuseMore() {
        intake = .closed
        dropBegun()
        settleReading()
        endIfDone()
    }

    private func endIfDone() {
        guard intake != .open, let context else { return }
        if intake == .ended {
            // What is half there stays so.
            guard !parser.hasFrame else { return }
            dropBegun()
        }
        // A close does not wait for writes: it would cut them off.
        if inFlight == 0, unwritten == 0 { context.close(promise: nil) }
    }

    /// Ends the connection if its client has taken too long.
    func lookAtClocks(_ now: ContinuousClock.Instant) {
        if let since = writingSince, since + limits.writeTimeout <= now {
            note("a client does not take its answers", "none taken within write-timeout-ms = \(limits.writeTimeout / .milliseconds(1))")
            context?.close(promise: nil)
        } else if isReading, let since = frameSince, since + limits.frameTimeout <= now {
            let limit = "the frame was not complete within \(Int(limits.frameTimeout / .milliseconds(1))) ms (frame-timeout-ms under [server])"
            answer((try? parser.header())?.requestID ?? 0, .invalidRequest, limit)
            note("a client does not complete its frame", limit)
            refuseMore()
        } else if let limit = limits.idleTimeout, intake == .open, inFlight == 0, frameSince == nil, latestRequest + limit <= now {
            // Nothing is wrong with it.
            takeNoMore()
        }
    }

    private func note(_ message: String, _ cause: String) {
        budget.noteClosed()
        reception.log.note(message, account) {
            ["connection": "\(number)", "uid": "\(client.principal.uid)", "pid": "\(client.principal.pid)", "cause": "\(cause)"]
        }
    }
}
