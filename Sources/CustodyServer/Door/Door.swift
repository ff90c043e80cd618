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
    private struct Connection {
        let channel: any Channel
        let client: ConnectionHandler.Client
    }

    private struct State {
        var connections: [UInt64: Connection] = [:]
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
    private let identities: Identities
    private let ownUser = getuid()
    /// How often those who are connected are looked at again: nobody is judged for longer than a minute by what the account
    /// database does not say any more.
    private static let renewal = TimeAmount.seconds(30)
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
        identities = Identities(custodian.rules)
        warnOfUnknownUsers()
    }

    private func warnOfUnknownUsers() {
        if let gap = identities.gap {
            log.logger.warning("not every range of subordinate uids may be known: users without a name are refused what a grant gives to a group", metadata: ["cause": "\(gap)"])
        }
        if OverflowIDs.areInUse {
            log.logger.warning("custodyd runs in a user namespace: users who have no number in it are refused, root of the machine among them")
        }
    }

    /// Accepts until ``close()``; on a thread of its own.
    func open(_ socket: consuming ListeningSocket) {
        let socket = SocketOwner(socket)
        let thread = Thread { self.accept(socket) }
        thread.name = "door"
        thread.start()
        eventLoop.scheduleRepeatedTask(initialDelay: Self.renewal, delay: Self.renewal) { [weak self] _ in self?.lookAgain() }
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

    private var connections: [Connection] { state.withLock { Array($0.connections.values) } }
    private var channels: [any Channel] { connections.map(\.channel) }

    // MARK: Those who are connected

    /// Looks at everybody as other rules ask for, which the body then puts in force. Whoever could not be looked at in time is
    /// taken to be in every group that they deny or limit.
    func change<R>(to rules: Rules, _ body: () -> R) -> R {
        identities.expect(rules)
        defer { identities.settle() }
        let isDone = DispatchSemaphore(value: 0)
        lookAgain(isReload: true) { isDone.signal() }
        _ = isDone.wait(timeout: .now() + .seconds(2))
        return body()
    }

    /// Ends the connections of a user and of its subordinate uids, all but one. Returns how many there were.
    func disconnect(_ uid: UInt32, except number: UInt64) -> Int {
        let ended = connections.filter { connection in
            let principal = connection.client.principal
            return connection.client.number != number
                && (Subject.user(name: "", uid: uid).mayInclude(principal) || principal.account == uid)
        }
        for connection in ended { connection.channel.close(promise: nil) }
        log.logger.notice("connections were cut for an administrator", metadata: ["uid": "\(uid)", "connections": "\(ended.count)"])
        return ended.count
    }

    /// Has those who are connected judged by what the account database says now.
    private func lookAgain(_ connections: [Connection]? = nil, isReload: Bool = false, then body: @escaping @Sendable () -> Void = {}) {
        let identities = identities
        let words = (connections ?? self.connections).map { connection -> EventLoopFuture<(Caller, Identities.Word?)> in
            let (channel, client) = (connection.channel, connection.client)
            guard !identities.isComplete(client.caller) else { return eventLoop.makeSucceededFuture((client.caller, nil)) }
            return eventLoop.submit {
                // On its event loop, which would close it: its descriptor is still its own.
                (client.caller, channel.isActive ? identities.askKernel(client.caller, on: client.descriptor) : nil)
            }
        }
        EventLoopFuture.whenAllSucceed(words, on: eventLoop).whenComplete { result in
            identities.renew((try? result.get()) ?? [], others: isReload ? .zero : .seconds(20), then: body)
        }
    }

    // MARK: The accepting thread

    private func accept(_ socket: SocketOwner) {
        var descriptors = [
            pollfd(fd: socket.socket.descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: stop.fileHandleForReading.fileDescriptor, events: Int16(POLLIN), revents: 0),
        ]
        Self.refuseDescriptors(socket.socket.descriptor)
        var spare = SpareDescriptor()
        var longLists = ListPace()
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
                admit(connection, &longLists)
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

    /// A byte that is sent out of band (MSG_OOB) counts as any other. Apart it would make the socket readable with nothing to be
    /// read, for which the event loop has no place.
    private static func takeUrgentBytesInline(_ connection: Int32) {
        var yes: Int32 = 1
        _ = setsockopt(connection, SOL_SOCKET, SO_OOBINLINE, &yes, socklen_t(MemoryLayout<Int32>.size))
    }

    private func admit(_ descriptor: Int32, _ longLists: inout ListPace) {
        Self.takeUrgentBytesInline(descriptor)
        guard let peer = PeerCredentials(of: descriptor) else { return closeUnknown(descriptor) }
        func refuse(_ account: DoorBudget.Account, _ message: String, _ code: ErrorCode = .overloaded) {
            self.refuse(descriptor, message, code)
            log.note("a connection is refused", account) { ["uid": "\(peer.uid)", "pid": "\(peer.pid)", "reason": "\(message)"] }
        }
        guard peer.uid != OverflowIDs.uid else {
            budget.noteClosed()
            return refuse(.max, Self.nobody, .denied)
        }
        if PeerCredentials.hasLongList(descriptor), let message = longLists.refusal(of: identities.account(of: peer)) {
            budget.noteClosed()
            return refuse(.max, message)
        }
        guard let caller = identities.caller(peer, on: descriptor) else { return closeUnknown(descriptor) }
        let account = custodian.account(of: caller.principal)
        do throws(DoorBudget.Refusal) {
            try budget.admitConnection(of: account, isOperator: peer.uid == 0 || peer.uid == ownUser)
        } catch {
            return refuse(account, error.message)
        }
        let isStranger = account == .max
        let process = isStranger ? nil : identities.process(of: caller, on: descriptor)
        identities.complete(caller, process: process, isStranger: isStranger) { self.serve(descriptor, caller, account) }
    }

    private static let nobody = """
        the kernel does not say who you are: uid \(OverflowIDs.uid) stands for every user who has no number where custodyd runs; \
        run custodyd outside of a user namespace, or connect as another user
        """

    private func closeUnknown(_ descriptor: Int32) {
        log.note("a connection without credentials is closed", .max) { [:] }
        Glibc.close(descriptor)
    }

    /// Tells a client why its connection ends.
    private func refuse(_ descriptor: Int32, _ reason: String, _ code: ErrorCode = .overloaded) {
        let rejection = RequestRejection(code: code, message: reason, retryAfter: code == .overloaded ? 500 : 0)
        if let body: [UInt8] = try? WireMapping.response(.failure(rejection)).serializedBytes() {
            var frame = ByteBuffer()
            Frame.write(requestID: 0, body: body, to: &frame)
            // A new socket takes it whole.
            frame.withUnsafeReadableBytes { _ = send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)) }
        }
        Glibc.close(descriptor)
    }

    // MARK: Connections

    private func serve(_ descriptor: Int32, _ caller: Caller, _ account: DoorBudget.Account) {
        let number = state.withLock { state in
            defer { state.nextNumber += 1 }
            return state.nextNumber
        }
        let client = ConnectionHandler.Client(caller: caller, account: account, number: number, descriptor: descriptor)
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
            state.connections[client.number] = Connection(channel: channel, client: client)
            return state.isClosed
        }
        // Other rules may have come while it was on its way.
        if !identities.isComplete(client.caller) { lookAgain([Connection(channel: channel, client: client)]) }
        channel.closeFuture.whenComplete { _ in
            self.state.withLock { $0.connections[client.number] = nil }
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
