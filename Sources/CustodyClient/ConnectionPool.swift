import NIOCore
import NIOPosix
import Synchronization

/// A fixed number of connections, each opened when it is first needed and again after it broke.
final class ConnectionPool: Sendable {
    private enum Slot {
        case empty
        case opening(EventLoopFuture<Connection>)
        case open(Connection)
    }

    private struct State {
        var slots: [Slot]
        var next = 0
        var isShutDown = false
    }

    private let socket: String
    private let group: any EventLoopGroup
    private let state: Mutex<State>

    init(socket: String, size: Int, group: any EventLoopGroup) {
        self.socket = socket
        self.group = group
        state = Mutex(State(slots: Array(repeating: .empty, count: size)))
    }

    /// The next connection in turn.
    func connection() async throws(CustodyClientError) -> Connection {
        enum Found {
            case open(Connection)
            case opening(EventLoopFuture<Connection>)
            case toOpen(Int, EventLoopPromise<Connection>)
            case shutDown
        }
        let found: Found = state.withLock { state in
            guard !state.isShutDown else { return .shutDown }
            let index = state.next
            state.next = (index + 1) % state.slots.count
            switch state.slots[index] {
            case .open(let connection) where connection.isUsable: return .open(connection)
            case .opening(let future): return .opening(future)
            case .open, .empty:
                let promise = group.next().makePromise(of: Connection.self)
                state.slots[index] = .opening(promise.futureResult)
                return .toOpen(index, promise)
            }
        }
        do {
            switch found {
            case .open(let connection): return connection
            case .opening(let future): return try await future.get()
            case .toOpen(let index, let promise):
                open(index, promise)
                return try await promise.futureResult.get()
            case .shutDown: throw CustodyClientError(.shutDown, "the client was shut down")
            }
        } catch let error as CustodyClientError {
            throw error
        } catch {
            throw CustodyClientError(.cannotConnect, "can't connect to custodyd on \(socket): \(reason(error)); is it running, and may you use the socket?")
        }
    }

    private func open(_ index: Int, _ promise: EventLoopPromise<Connection>) {
        Connection.open(socket, group).whenComplete { result in
            let isWanted = self.state.withLock { state in
                switch result {
                case .success(let connection) where !state.isShutDown: state.slots[index] = .open(connection)
                default: state.slots[index] = .empty
                }
                return !state.isShutDown
            }
            if !isWanted, case .success(let connection) = result { connection.close() }
            promise.completeWith(result)
        }
    }

    func shutdown() async {
        let open = state.withLock { state in
            state.isShutDown = true
            defer { state.slots = state.slots.map { _ in .empty } }
            return state.slots.compactMap { if case .open(let connection) = $0 { connection } else { nil } }
        }
        for connection in open { await connection.shutdown() }
    }

    private func reason(_ error: any Error) -> String {
        guard let error = error as? IOError else { return "\(error)" }
        return String(cString: strerror(error.errnoCode))
    }
}
