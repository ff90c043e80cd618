import Custody
import Synchronization

/// What each account has taken of what the door can hold, and what is left.
///
/// Whatever a client gets is asked for here first and given back when its answer is with the kernel, so that no number of
/// connections makes the daemon hold more than its limits.
final class DoorBudget: Sendable {
    /// A user with all subordinate uids, or one for all whom no grant names.
    typealias Account = UInt32

    /// What the client is told, and whose limit it was.
    struct Refusal: Error, Equatable {
        let message: String
    }

    private struct Share {
        var connections = 0
        var requests = 0
        var bytes = 0
        /// When the connects that it has had will be used up.
        var paid = ContinuousClock.Instant.now

        var isEmpty: Bool { connections == 0 && requests == 0 && bytes == 0 }
    }

    private struct State {
        var shares: [Account: Share] = [:]
        var connections = 0
        var bytes = 0
        var connectionsRefused: UInt64 = 0
        var requestsRefused: UInt64 = 0

        mutating func change(_ account: Account, _ body: (inout Share) -> Void) {
            guard var share = shares[account] else { return }
            body(&share)
            shares[account] = share.isEmpty && share.paid <= .now ? nil : share
        }
    }

    let limits: DoorLimits
    private let state = Mutex(State())

    init(_ limits: DoorLimits) { self.limits = limits }

    // MARK: Connections

    /// Takes a connection; it is given back by ``releaseConnection(of:)``.
    ///
    /// - Parameter isOperator: Root or the daemon's own user, for whom there is a reserve.
    func admitConnection(of account: Account, isOperator: Bool, now: ContinuousClock.Instant = .now) throws(Refusal) {
        let refusal: Refusal? = state.withLock { state in
            var share = state.shares[account] ?? Share()
            defer { state.shares[account] = share }
            let interval = Duration.seconds(1) / limits.connectsPerSecond
            let debt = max(now.duration(to: share.paid), .zero)
            let limit = limits.connections + (isOperator ? limits.reservedConnections : 0)
            let refusal: Refusal? =
                if share.connections >= limits.connectionsPerUser {
                    Refusal(message: "this user has \(share.connections) connections already (connections-per-user under [server])")
                } else if state.connections >= limit {
                    Refusal(message: "the daemon has \(state.connections) connections already (connections under [server])")
                } else if debt > .seconds(1) {
                    Refusal(message: "this user opens more than \(limits.connectsPerSecond) connections a second (connects-per-second-per-user under [server])")
                } else {
                    nil
                }
            guard refusal == nil else {
                state.connectionsRefused += 1
                return refusal
            }
            share.paid = now + debt + interval
            share.connections += 1
            state.connections += 1
            return nil
        }
        if let refusal { throw refusal }
    }

    func releaseConnection(of account: Account) {
        state.withLock { state in
            state.connections -= 1
            state.change(account) { $0.connections -= 1 }
        }
    }

    /// Counts a connection that was closed for what it did.
    func noteClosed() { state.withLock { $0.connectionsRefused += 1 } }

    // MARK: Requests

    /// Takes a request of so many bytes; it is given back by ``release(requests:bytes:of:)``.
    func admitRequest(bytes: Int, of account: Account) throws(Refusal) { try take(requests: 1, bytes: bytes, of: account) }

    /// Takes more bytes for a request that was admitted.
    func grow(by bytes: Int, of account: Account) throws(Refusal) { try take(requests: 0, bytes: bytes, of: account) }

    private func take(requests: Int, bytes: Int, of account: Account) throws(Refusal) {
        let refusal: Refusal? = state.withLock { state in
            let share = state.shares[account] ?? Share()
            let held = share.bytes + bytes
            let refusal: Refusal? =
                if share.requests + requests > limits.requestsInFlightPerUser {
                    Refusal(message: "this user has \(share.requests) requests in flight already (requests-in-flight-per-user under [server])")
                } else if held > limits.memoryPerUser {
                    Refusal(message: "this user has \(share.bytes) bytes of requests in flight already (memory-mib-per-user under [server])")
                } else if state.bytes + bytes > limits.memory, held > limits.memoryForEverybody {
                    Refusal(message: "the daemon holds \(state.bytes) bytes of requests already (memory-mib under [server])")
                } else {
                    nil
                }
            guard refusal == nil else {
                state.requestsRefused += 1
                return refusal
            }
            state.bytes += bytes
            state.shares[account, default: Share()].requests += requests
            state.shares[account]?.bytes += bytes
            return nil
        }
        if let refusal { throw refusal }
    }

    func release(requests: Int, bytes: Int, of account: Account) {
        guard requests > 0 || bytes > 0 else { return }
        state.withLock { state in
            state.bytes -= bytes
            state.change(account) {
                $0.requests -= requests
                $0.bytes -= bytes
            }
        }
    }

    // MARK: What it says

    /// Forgets accounts that hold nothing and owe nothing.
    func sweep(now: ContinuousClock.Instant = .now) {
        state.withLock { state in
            state.shares = state.shares.filter { !$0.value.isEmpty || $0.value.paid > now }
        }
    }

    /// How many accounts it remembers.
    var accounts: Int { state.withLock { $0.shares.count } }

    func report() -> DoorReport {
        state.withLock { state in
            var report = DoorReport()
            report.connections = state.connections
            report.connectionsLimit = limits.connections
            report.connectionsRefused = state.connectionsRefused
            report.requestsRefused = state.requestsRefused
            report.bytesInFlight = state.bytes
            report.bytesInFlightLimit = limits.memory
            return report
        }
    }
}
