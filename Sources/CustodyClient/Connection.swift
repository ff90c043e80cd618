import CustodyProtocol
import NIOCore
import NIOPosix
import SecureMemory
import SwiftProtobuf
import Synchronization

/// One pipelined connection: requests go out in one write while another is on its way, answers come back in any order.
final class Connection: Sendable {
    struct Call: Sendable {
        let id: UInt32
        let frame: ByteBuffer
        let deadline: ContinuousClock.Instant
        let continuation: CheckedContinuation<Result<WireResponse, CustodyClientError>, Never>
    }

    private struct State {
        var nextID: UInt32 = 1
        /// Calls on their way to the event loop.
        var outgoing: [Call] = []
        var failure: CustodyClientError?
    }

    private let channel: any Channel
    private let handler: NIOLoopBound<CallHandler>
    private let state = Mutex(State())

    private init(_ channel: any Channel, _ handler: NIOLoopBound<CallHandler>) {
        self.channel = channel
        self.handler = handler
    }

    static func open(_ socket: String, _ group: any EventLoopGroup) -> EventLoopFuture<Connection> {
        ClientBootstrap(group: group)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(CallHandler(channel.eventLoop))
                }
            }
            .connect(unixDomainSocketPath: socket)
            .flatMapThrowing { channel in
                let handler = try channel.pipeline.syncOperations.handler(type: CallHandler.self)
                let connection = Connection(channel, NIOLoopBound(handler, eventLoop: channel.eventLoop))
                handler.onFailure = { error in connection.fail(error) }
                return connection
            }
    }

    /// Whether calls can still be made on it.
    var isUsable: Bool { state.withLock { $0.failure == nil } && channel.isActive }

    func send(_ request: WireRequest, deadline: ContinuousClock.Instant) async throws(CustodyClientError) -> WireResponse {
        let body: [UInt8]
        do {
            body = try request.serializedBytes()
        } catch {
            throw CustodyClientError(.requestTooLarge, "the request can't be encoded: \(error)")
        }
        defer { body.zeroize() }
        guard body.count <= Frame.requestLimit else {
            throw CustodyClientError(
                .requestTooLarge, "the request has \(body.count) bytes; a frame takes \(Frame.requestLimit): send fewer or smaller operations")
        }
        let id = state.withLock { state in
            defer { state.nextID &+= 1 }
            return state.nextID
        }
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                var frame = channel.allocator.buffer(capacity: Frame.headerLength + body.count)
                Frame.write(requestID: id, body: body, to: &frame)
                enqueue(Call(id: id, frame: frame, deadline: deadline, continuation: continuation))
                // Cancelled before the call was known: nobody else tells the handler.
                if Task.isCancelled { cancel(id) }
            }
        } onCancel: {
            cancel(id)
        }
        return try result.get()
    }

    private func cancel(_ id: UInt32) {
        handler.eventLoop.execute { self.handler.value.fail(id, CustodyClientError(.cancelled, "the call was cancelled")) }
    }

    private func enqueue(_ call: Call) {
        enum Verdict { case failed(CustodyClientError), deliver, onItsWay }
        let verdict: Verdict = state.withLock { state in
            if let failure = state.failure { return .failed(failure) }
            state.outgoing.append(call)
            return state.outgoing.count == 1 ? .deliver : .onItsWay
        }
        switch verdict {
        case .failed(let error): call.continuation.resume(returning: .failure(error))
        case .onItsWay: break
        case .deliver:
            channel.eventLoop.execute {
                let calls = self.state.withLock { state in
                    defer { state.outgoing = [] }
                    return state.outgoing
                }
                self.handler.value.send(calls)
            }
        }
    }

    /// Refuses further calls; those on their way fail when they reach the handler.
    private func fail(_ error: CustodyClientError) {
        state.withLock { $0.failure = $0.failure ?? error }
    }

    func close() { channel.close(promise: nil) }

    func shutdown() async {
        fail(CustodyClientError(.shutDown, "the client was shut down"))
        let (channel, handler) = (channel, handler)
        try? await channel.eventLoop.submit {
            handler.value.failAll(CustodyClientError(.shutDown, "the client was shut down"))
        }.get()
        try? await channel.close()
    }
}

/// The event loop's side of a connection.
private final class CallHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private struct Waiting {
        let deadline: ContinuousClock.Instant
        let continuation: CheckedContinuation<Result<WireResponse, CustodyClientError>, Never>
    }

    private let eventLoop: any EventLoop
    private var context: ChannelHandlerContext?
    private var waiting: [UInt32: Waiting] = [:]
    private var parser = FrameParser(limit: Frame.responseLimit)
    private var isClockRunning = false
    private var failure: CustodyClientError?
    var onFailure: ((CustodyClientError) -> Void)?

    init(_ eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func send(_ calls: [Connection.Call]) {
        guard let context, failure == nil else {
            let error = failure ?? CustodyClientError(.connectionLost, "custodyd closed the connection")
            for call in calls { call.continuation.resume(returning: .failure(error)) }
            return
        }
        for call in calls {
            waiting[call.id] = Waiting(deadline: call.deadline, continuation: call.continuation)
            let frame = call.frame
            context.write(wrapOutboundOut(frame)).whenComplete { _ in frame.zeroize() }
        }
        context.flush()
        watchDeadlines()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        parser.append(&bytes)
        do {
            while let frame = try parser.next() {
                let body = Array(frame.body.readableBytesView)
                defer {
                    body.zeroize()
                    frame.body.zeroize()
                }
                let response = try WireResponse(serializedBytes: body)
                if let call = waiting.removeValue(forKey: frame.requestID) {
                    call.continuation.resume(returning: .success(response))
                } else if frame.requestID == 0, response.hasError {
                    // About the connection as a whole: the daemon closes it.
                    failAll(CustodyClientError(response.error))
                }
            }
        } catch {
            failAll(CustodyClientError(.protocolViolation, "the daemon's bytes are not Custody's protocol; is another program listening on the socket?"))
            context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        failAll(CustodyClientError(.connectionLost, "custodyd closed the connection before it answered"))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        failAll(CustodyClientError(.connectionLost, "the connection to custodyd broke: \(error)"))
        context.close(promise: nil)
    }

    func fail(_ id: UInt32, _ error: CustodyClientError) {
        waiting.removeValue(forKey: id)?.continuation.resume(returning: .failure(error))
    }

    func failAll(_ error: CustodyClientError) {
        failure = failure ?? error
        onFailure?(error)
        onFailure = nil
        let calls = waiting
        waiting = [:]
        for call in calls.values { call.continuation.resume(returning: .failure(error)) }
    }

    /// Looks every 10 ms for calls whose deadline has passed, as long as there are calls: cheaper than a timer for each.
    private func watchDeadlines() {
        guard !isClockRunning, !waiting.isEmpty else { return }
        isClockRunning = true
        eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(10)) {
            self.isClockRunning = false
            let now = ContinuousClock.now
            for (id, call) in self.waiting where call.deadline <= now {
                self.fail(id, CustodyClientError(.deadlineExceeded, "custodyd did not answer in time"))
            }
            self.watchDeadlines()
        }
    }
}
