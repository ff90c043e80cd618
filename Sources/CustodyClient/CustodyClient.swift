import CustodyProtocol
import NIOCore
import NIOPosix
import SecureMemory
import SwiftProtobuf

/// A client of `custodyd`.
///
/// It holds a few connections to the daemon's socket, opened when first needed and again after they break, and sends
/// many requests on each at once. Calls may be made from any number of tasks. A call ends within its deadline, whatever
/// the daemon does.
///
/// Every operation of the protocol is safe to repeat: none changes what the daemon holds. So a call is sent again, within
/// its deadline, when the connection breaks or the server asks for a later try (overloaded, restarting, token being
/// connected). What the server refuses is never repeated.
public struct CustodyClient: Sendable {
    public struct Configuration: Sendable {
        /// The path of the daemon's socket.
        public var socket: String
        /// How many connections are used.
        public var connections: Int
        /// How long a call may take, with all its tries.
        public var deadline: Duration
        /// For whom the caller acts: recorded in the audit log with every request.
        public var onBehalfOf: [String: String]

        public init(
            socket: String = "/run/custody/custody.sock", connections: Int = 1, deadline: Duration = .seconds(5),
            onBehalfOf: [String: String] = [:]
        ) {
            self.socket = socket
            self.connections = max(1, connections)
            self.deadline = deadline
            self.onBehalfOf = onBehalfOf
        }
    }

    private let configuration: Configuration
    private let pool: ConnectionPool

    /// Makes a client. Nothing is connected until the first call.
    public init(_ configuration: Configuration, group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton) {
        self.configuration = configuration
        pool = ConnectionPool(socket: configuration.socket, size: configuration.connections, group: group)
    }

    /// Closes the connections. Calls under way fail with ``CustodyClientError/Code/shutDown``.
    public func shutdown() async {
        await pool.shutdown()
    }

    // MARK: Operations

    /// Wraps a plaintext of 1 to 65,536 bytes under the newest active version of a root key.
    ///
    /// - Parameter context: What the blob is bound to, such as `["tenant": "acme"]`; the same is needed to unwrap it.
    public func wrap(
        _ plaintext: SecretBytes, key: String, context: [String: String] = [:]
    ) async throws(CustodyClientError) -> WrappedBlob {
        try await one(.wrap(plaintext, key: key, context: context)) { $0.wrapped }
    }

    /// Opens a blob.
    public func unwrap(_ blob: [UInt8], context: [String: String] = [:]) async throws(CustodyClientError) -> UnwrappedBlob {
        try await one(.unwrap(blob, context: context)) { $0.unwrapped }
    }

    /// Wraps a blob's content anew under the newest active version of its key. The content stays in the daemon.
    public func rewrap(_ blob: [UInt8], context: [String: String] = [:]) async throws(CustodyClientError) -> WrappedBlob {
        try await one(.rewrap(blob, context: context)) { $0.wrapped }
    }

    /// Has the token make a key of 16 to 1,024 random bytes and wraps it.
    public func generateDataKey(
        key: String, length: Int = 32, withPlaintext: Bool = true, context: [String: String] = [:]
    ) async throws(CustodyClientError) -> DataKey {
        try await one(.generateDataKey(key: key, length: length, withPlaintext: withPlaintext, context: context)) { $0.dataKey }
    }

    /// The raw form of wrapping, for gateways: AES-256-GCM with an AAD of up to 8,192 bytes, as parts.
    public func encrypt(_ plaintext: SecretBytes, key: String, aad: [UInt8]) async throws(CustodyClientError) -> RawCiphertext {
        try await one(.encrypt(plaintext, key: key, aad: aad)) { $0.encrypted }
    }

    /// The raw form of unwrapping.
    public func decrypt(_ ciphertext: RawCiphertext, aad: [UInt8]) async throws(CustodyClientError) -> SecretBytes {
        try await one(.decrypt(ciphertext, aad: aad)) { $0.decrypted }
    }

    /// What the daemon says of itself, its token and its keys.
    public func status() async throws(CustodyClientError) -> WireStatusReport {
        try await one(.status) { $0.status }
    }

    /// The same, with everything that the daemon has counted and timed since it started.
    public func metrics() async throws(CustodyClientError) -> WireStatusReport {
        try await one(.metrics) { $0.status }
    }

    /// Has the daemon read its configuration anew. Needs a grant that names `reload`.
    ///
    /// - Returns: What is in force now.
    /// - Throws: ``CustodyClientError`` with the server's `configuration-invalid` if the file is wrong; then nothing has
    ///   changed.
    public func reload() async throws(CustodyClientError) -> WireConfigurationReport {
        try await one(.reload) { $0.reloaded }
    }

    /// Ends every connection of a user and of the user's subordinate uids, but for the one that this goes over. Needs a grant
    /// that names `disconnect`. Whoever may connect can connect again.
    ///
    /// - Returns: How many there were.
    public func disconnect(uid: UInt32) async throws(CustodyClientError) -> Int {
        try await one(.disconnect(uid: uid)) { $0.disconnected }
    }

    /// Sends up to 256 operations as one request.
    ///
    /// - Returns: One result per operation, in their order. An operation that fails does not touch the others.
    public func batch(_ operations: [Operation]) async throws(CustodyClientError) -> [Result<Answer, CustodyClientError>] {
        let results = try await send(operations)
        return results.map { result in
            if case .error(let error) = result.kind { return .failure(CustodyClientError(error)) }
            guard let answer = Answer(result) else { return .failure(Self.unexpected) }
            return .success(answer)
        }
    }

    private static let unexpected = CustodyClientError(
        .protocolViolation, "the daemon's answer does not fit the request; is another program listening on the socket?")

    private func one<R>(_ operation: Operation, _ pick: (Answer) -> R?) async throws(CustodyClientError) -> R {
        let deadline = ContinuousClock.now + configuration.deadline
        var pause = Duration.milliseconds(10)
        while true {
            let results = try await send([operation], deadline: deadline)
            if case .error(let wire)? = results.first?.kind {
                let error = CustodyClientError(wire)
                // The server says that a later try makes sense, and there is time for one.
                guard let wait = error.retryAfter, error.code != .server(.deadlineExceeded) else { throw error }
                try await Self.pause(max(wait, pause), error, deadline)
                pause = min(pause * 2, .milliseconds(500))
                continue
            }
            guard let first = results.first, let answer = Answer(first), let picked = pick(answer) else { throw Self.unexpected }
            return picked
        }
    }

    private func send(_ operations: [Operation]) async throws(CustodyClientError) -> [WireResult] {
        try await send(operations, deadline: .now + configuration.deadline)
    }

    /// Sends one request until it is answered or the deadline passes.
    private func send(
        _ operations: [Operation], deadline: ContinuousClock.Instant
    ) async throws(CustodyClientError) -> [WireResult] {
        var pause = Duration.milliseconds(10)
        while true {
            do throws(CustodyClientError) {
                let request = WireRequest.with {
                    $0.operations = operations.map(\.wire)
                    $0.deadlineMs = UInt32(clamping: max(1, Int(ContinuousClock.now.duration(to: deadline) / .milliseconds(1))))
                    $0.onBehalfOf = Operation.pairs(configuration.onBehalfOf)
                }
                let response = try await pool.connection().send(request, deadline: deadline)
                if response.hasError { throw CustodyClientError(response.error) }
                guard response.results.count == operations.count else { throw Self.unexpected }
                return response.results
            } catch {
                switch error.code {
                case .cannotConnect, .connectionLost: break
                case .server where error.retryAfter != nil: break
                default: throw error
                }
                try await Self.pause(max(error.retryAfter ?? .zero, pause), error, deadline)
                pause = min(pause * 2, .milliseconds(500))
            }
        }
    }

    /// Waits before another try, with up to a half more at random; throws the error if the deadline would pass meanwhile.
    private static func pause(
        _ duration: Duration, _ error: CustodyClientError, _ deadline: ContinuousClock.Instant
    ) async throws(CustodyClientError) {
        let wait = duration + duration * Double.random(in: 0...0.5)
        guard ContinuousClock.now + wait < deadline else { throw error }
        do { try await Task.sleep(for: wait) } catch { throw CustodyClientError(.cancelled, "the call was cancelled") }
    }
}
