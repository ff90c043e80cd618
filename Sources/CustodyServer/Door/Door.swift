import CSystemShim
import Custody
import CustodyProtocol
import Foundation
import Glibc
import Logging
import NIOCore
import NIOPosix
import SwiftProtobuf
import Synchronization

/// Accepts connections, asks the kernel who they are, and hands them to the event loops.
///
/// A thread of its own accepts: it learns the peer's credentials from the descriptor before anything of the connection is
/// read, and can wait when descriptors run out, without a connected client noticing.
///
/// Whoever is past a limit is told which, in a frame of request id 0, and closed at once: before its groups' and its user's
/// names are looked up, and without a channel or a line in the log for each.
final class Door: Sendable {
    private struct State {
        var channels: [UInt64: any Channel] = [:]
        var nextNumber: UInt64 = 1
        /// What keeps connections from being accepted.
        var trouble: String?
        var isClosed = false
    }

    private let custodian: Custodian
    private let eventLoop: any EventLoop
    private let budget: DoorBudget
    private let log: DoorLog
    private let reception: NIOLoopBound<Reception>
    private let state = Mutex(State())
    private let names = AccountNames()
    private let ownUser = getuid()
    /// Written to when the door closes.
    private let stop: Pipe

    /// - Throws: What keeps the event loop from being set up. Not to be called on one.
    init(custodian: Custodian, configuration: Configuration.Server, group: any EventLoopGroup, log: Logger) throws {
        self.custodian = custodian
        self.log = DoorLog(log)
        eventLoop = group.next()
        var limits = DoorLimits(configuration)
        if let descriptors = limits.fit(intoDescriptors: Self.descriptorLimit) {
            log.warning(
                "the limit of open files is too low for `connections` under [server]: fewer are accepted; raise LimitNOFILE of the unit, or lower `connections`",
                metadata: ["connections": "\(limits.connections)", "configured": "\(configuration.connections)", "limit": "\(descriptors)"])
        }
        budget = DoorBudget(limits)
        reception = try Reception.open(on: eventLoop, budget, self.log).wait()
        stop = Pipe()
    }

    /// Accepts until ``close()``; on a thread of its own.
    func open(_ socket: consuming ListeningSocket) {
        let socket = SocketOwner(socket)
        let thread = Thread { self.accept(socket) }
        thread.name = "door"
        thread.start()
    }

    /// Accepts no more connections.
    func close() {
        state.withLock { $0.isClosed = true }
        stop.fileHandleForWriting.write(Data([0]))
    }

    func report() -> DoorReport {
        var report = budget.report()
        report.trouble = state.withLock { $0.trouble }
        return report
    }

    /// Ends every connection when what has arrived is answered; one whose client does not read that is closed after `patience`.
    func closeConnections(within patience: Duration) async {
        for channel in channels { channel.pipeline.fireUserInboundEventTriggered(EndConnection()) }
        await withTaskGroup(of: Void.self) { group in
            // Some that were accepted just before the end may still be on their way here.
            group.addTask { while !Task.isCancelled, let channel = self.channels.first { try? await channel.closeFuture.get() } }
            group.addTask { try? await Task.sleep(for: patience) }
            await group.next()
            for channel in channels { channel.close(promise: nil) }
            group.cancelAll()
        }
    }

    private var channels: [any Channel] { state.withLock { Array($0.channels.values) } }

    // MARK: The accepting thread

    private func accept(_ socket: SocketOwner) {
        var descriptors = [
            pollfd(fd: socket.socket.descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: stop.fileHandleForReading.fileDescriptor, events: Int16(POLLIN), revents: 0),
        ]
        Self.refuseDescriptors(socket.socket.descriptor)
        var spare = SpareDescriptor()
        while !state.withLock({ $0.isClosed }) {
            let isStarved = state.withLock { $0.trouble != nil }
            let ready = poll(&descriptors, 2, isStarved ? 100 : -1)
            if isStarved, spare.isThereOne(below: Self.room) {
                state.withLock { $0.trouble = nil }
                log.logger.notice("there are descriptors again: new connections are served")
            }
            guard ready > 0, descriptors[0].revents != 0 else { continue }
            let connection = csystem_accept(socket.socket.descriptor)
            if connection >= 0 {
                guard Int(connection) < Self.room else {
                    refuse(connection, starve(EMFILE))
                    continue
                }
                admit(connection)
            } else if [EMFILE, ENFILE, ENOMEM, ENOBUFS].contains(-connection) {
                let reason = starve(-connection)
                var isRefused = false
                spare.lend {
                    let connection = csystem_accept(socket.socket.descriptor)
                    guard connection >= 0 else { return }
                    isRefused = true
                    refuse(connection, reason)
                }
                // Until a descriptor is free again; the stop pipe ends the wait.
                if !isRefused { _ = poll(&descriptors[1], 1, 100) }
            }
        }
    }

    /// The numbers that connections' descriptors may have: the kernel gives the lowest that is free. Asked anew each time, since
    /// the limit can be changed from outside.
    private static var room: Int { DoorLimits.descriptorsForConnections(of: descriptorLimit) }

    private static var descriptorLimit: Int { Int(sysconf(Int32(_SC_OPEN_MAX))) }

    /// Says, once, that there is nothing to serve new connections with. Returns what to tell them.
    private func starve(_ error: Int32) -> String {
        let reason = "new connections are refused: \(String(cString: strerror(error))); raise LimitNOFILE of the unit, or lower `connections` under [server]"
        budget.noteClosed()
        let isNew = state.withLock { state in
            defer { state.trouble = reason }
            return state.trouble == nil
        }
        if isNew { log.logger.error("\(reason); connected clients are served on") }
        return reason
    }

    /// Nobody may send descriptors along (SO_PASSRIGHTS, Linux 6.16; its connections inherit it). They would be closed on the
    /// thread that reads, and a close can take as long as the sender likes: a TCP socket that lingers, say.
    private static func refuseDescriptors(_ socket: Int32) {
        var no: Int32 = 0
        // Older kernels do not know it.
        _ = setsockopt(socket, SOL_SOCKET, 83, &no, socklen_t(MemoryLayout<Int32>.size))
    }

    private func admit(_ descriptor: Int32) {
        guard let principal = Principal(peerOf: descriptor) else {
            log.note("a connection without credentials is closed", .max) { [:] }
            Glibc.close(descriptor)
            return
        }
        let account = custodian.account(of: principal)
        do throws(DoorBudget.Refusal) {
            try budget.admitConnection(of: account, isOperator: principal.uid == 0 || principal.uid == ownUser)
        } catch {
            refuse(descriptor, error.message)
            return log.note("a connection is refused", account) { ["uid": "\(principal.uid)", "pid": "\(principal.pid)", "reason": "\(error.message)"] }
        }
        names.name(principal, isStranger: account == .max) { self.serve(descriptor, $0, account) }
    }

    /// Tells a client why its connection ends.
    private func refuse(_ descriptor: Int32, _ reason: String) {
        let rejection = RequestRejection(code: .overloaded, message: reason, retryAfter: 500)
        if let body: [UInt8] = try? WireMapping.response(.failure(rejection)).serializedBytes() {
            var frame = ByteBuffer()
            Frame.write(requestID: 0, body: body, to: &frame)
            // A new socket takes it whole.
            frame.withUnsafeReadableBytes { _ = send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)) }
        }
        Glibc.close(descriptor)
    }

    // MARK: Connections

    private func serve(_ descriptor: Int32, _ principal: Principal, _ account: DoorBudget.Account) {
        let number = state.withLock { state in
            defer { state.nextNumber += 1 }
            return state.nextNumber
        }
        let client = ConnectionHandler.Client(principal: principal, account: account, number: number, descriptor: descriptor)
        let (custodian, reception) = (custodian, reception)
        ClientBootstrap(group: eventLoop)
            .channelOption(.allowRemoteHalfClosure, value: true)
            // One connection takes the loop for one read at a time.
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(ConnectionHandler(client, custodian, reception.value))
                }
            }
            .withConnectedSocket(descriptor)
            .whenComplete { result in
                switch result {
                case .success(let channel): self.register(channel, client)
                case .failure(let error):
                    self.budget.releaseConnection(of: account)
                    self.log.note("a connection can't be served", account) { ["cause": "\(error)"] }
                }
            }
    }

    private func register(_ channel: any Channel, _ client: ConnectionHandler.Client) {
        let isClosed = state.withLock { state in
            state.channels[client.number] = channel
            return state.isClosed
        }
        channel.closeFuture.whenComplete { _ in
            self.state.withLock { $0.channels[client.number] = nil }
            self.budget.releaseConnection(of: client.account)
        }
        if isClosed { channel.pipeline.fireUserInboundEventTriggered(EndConnection()) }
    }
}

/// Carries the socket into the accepting thread's closure, which can't own what is not copyable.
private final class SocketOwner: Sendable {
    let socket: ListeningSocket
    init(_ socket: consuming ListeningSocket) { self.socket = socket }
}
