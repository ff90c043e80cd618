import CSystemShim
import Custody
import CustodyProtocol
import Foundation
import Glibc
import Logging
import NIOCore
import NIOPosix
import Synchronization

/// Accepts connections, asks the kernel who they are, and hands them to the event loops.
///
/// A thread of its own accepts: it learns the peer's credentials from the descriptor before anything of the connection is
/// read, and can wait when descriptors run out, without a connected client noticing.
final class Door: Sendable {
    private struct State {
        var channels: [UInt64: any Channel] = [:]
        /// Connections that are admitted, also those on their way to an event loop.
        var admitted = 0
        var nextNumber: UInt64 = 1
        var isClosed = false
    }

    private let custodian: Custodian
    private let limits: ConnectionLimits
    private let connectionLimit: Int
    private let group: any EventLoopGroup
    private let log: Logger
    private let state = Mutex(State())
    private let names = AccountNames()
    /// Written to when the door closes.
    private let stop: Pipe

    init(custodian: Custodian, configuration: Configuration.Server, group: any EventLoopGroup, log: Logger) {
        self.custodian = custodian
        self.group = group
        self.log = log
        limits = ConnectionLimits(
            requestsInFlight: configuration.requestsInFlight, bytesInFlight: 4 * Frame.requestLimit, defaultDeadline: configuration.defaultDeadline,
            longestDeadline: configuration.longestDeadline)
        connectionLimit = configuration.connections
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

    /// Ends every connection when its answers are written; one whose client does not read them is closed after `patience`.
    func closeConnections(within patience: Duration) async {
        let channels = state.withLock { Array($0.channels.values) }
        for channel in channels { channel.pipeline.fireUserInboundEventTriggered(EndConnection()) }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for channel in channels { try? await channel.closeFuture.get() } }
            group.addTask { try? await Task.sleep(for: patience) }
            await group.next()
            for channel in channels { channel.close(promise: nil) }
            group.cancelAll()
        }
    }

    private func accept(_ socket: SocketOwner) {
        var descriptors = [
            pollfd(fd: socket.socket.descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: stop.fileHandleForReading.fileDescriptor, events: Int16(POLLIN), revents: 0),
        ]
        while !state.withLock({ $0.isClosed }) {
            guard poll(&descriptors, 2, -1) > 0, descriptors[0].revents != 0 else { continue }
            let connection = csystem_accept(socket.socket.descriptor)
            if connection >= 0 {
                admit(connection)
            } else if [EMFILE, ENFILE, ENOMEM, ENOBUFS].contains(-connection) {
                log.warning("no descriptors or memory for new connections; connected clients are served on")
                // Until a descriptor is free again; the stop pipe ends the wait.
                _ = poll(&descriptors[1], 1, 100)
            }
        }
    }

    private func admit(_ descriptor: Int32) {
        guard let principal = Principal(peerOf: descriptor, names) else {
            log.warning("a connection without credentials is closed")
            Glibc.close(descriptor)
            return
        }
        let number: UInt64? = state.withLock { state in
            guard state.admitted < connectionLimit else { return nil }
            state.admitted += 1
            defer { state.nextNumber += 1 }
            return state.nextNumber
        }
        guard let number else {
            log.warning("too many connections", metadata: ["limit": "\(connectionLimit)", "uid": "\(principal.uid)"])
            Glibc.close(descriptor)
            return
        }
        let (custodian, limits, log) = (custodian, limits, log)
        ClientBootstrap(group: group)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(ConnectionHandler(
                        principal: principal, number: number, custodian: custodian, limits: limits, log: log))
                }
            }
            .withConnectedSocket(descriptor)
            .whenComplete { result in
                switch result {
                case .success(let channel): self.register(channel, number)
                case .failure(let error):
                    self.state.withLock { $0.admitted -= 1 }
                    log.warning("a connection can't be served", metadata: ["cause": "\(error)"])
                }
            }
    }

    private func register(_ channel: any Channel, _ number: UInt64) {
        let isClosed = state.withLock { state in
            state.channels[number] = channel
            return state.isClosed
        }
        channel.closeFuture.whenComplete { _ in
            self.state.withLock { state in
                state.channels[number] = nil
                state.admitted -= 1
            }
        }
        if isClosed { channel.close(promise: nil) }
    }
}

/// Carries the socket into the accepting thread's closure, which can't own what is not copyable.
private final class SocketOwner: Sendable {
    let socket: ListeningSocket
    init(_ socket: consuming ListeningSocket) { self.socket = socket }
}
