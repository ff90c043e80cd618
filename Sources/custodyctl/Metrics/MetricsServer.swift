import NIOCore
import NIOHTTP1
import NIOPosix
import ToolSupport

/// Serves `GET /metrics` over HTTP to a Prometheus server: a small process of its own, so that the daemon, which has the HSM,
/// listens on no network.
struct MetricsServer {
    /// The address and port to listen on.
    struct Address {
        let host: String
        let port: Int

        /// - Parameter text: Such as `127.0.0.1:9464` or `[::1]:9464`.
        init(_ text: String) throws(ToolError) {
            func refused() -> ToolError { ToolError("usage", "--listen '\(text)' is not ADDRESS:PORT, such as 127.0.0.1:9464 or [::1]:9464", exit: ToolExit.usage) }
            guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]), (0...65_535).contains(port) else {
                throw refused()
            }
            var host = text[..<colon]
            if host.hasPrefix("["), host.hasSuffix("]") {
                host = host.dropFirst().dropLast()
            } else if host.contains(":") {
                throw refused()
            }
            guard !host.isEmpty else { throw refused() }
            self.host = String(host)
            self.port = port
        }
    }

    let address: Address
    let scrape: @Sendable () async -> String

    /// Serves until the task is cancelled.
    ///
    /// - Parameter onListening: Told the address that it listens on.
    func run(onListening: (String) -> Void) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let scrape = scrape
        do {
            // Of the one event loop that there is.
            let connections = try await MetricsConnections.open(on: group.next()).get()
            let channel = try await ServerBootstrap(group: group)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .serverChannelOption(.backlog, value: 1_024)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let pipeline = channel.pipeline.syncOperations
                        let connection = MetricsConnection(connections.value)
                        try pipeline.addHandler(connection)
                        try pipeline.configureHTTPServerPipeline(
                            withErrorHandling: true, withOutboundHeaderValidation: true, withEncoderConfiguration: .init(),
                            withDecoderLimitConfiguration: Self.headerLimits)
                        try pipeline.addHandler(MetricsRequestHandler(connection, scrape))
                    }
                }
                .bind(host: address.host, port: address.port).get()
            onListening(channel.localAddress.map { "\($0.ipAddress ?? ""):\($0.port ?? 0)" } ?? "")
            try await withTaskCancellationHandler { try await channel.closeFuture.get() } onCancel: { channel.close(promise: nil) }
            try await group.shutdownGracefully()
        } catch {
            try? await group.shutdownGracefully()
            throw ToolError("listen-failed", "can't listen on \(address.host):\(address.port): \(error); give another --listen", exit: ToolExit.unavailable)
        }
    }

    /// What a scraper sends has some hundred bytes.
    private static var headerLimits: NIOHTTPDecoderLimitConfiguration {
        var limits = NIOHTTPDecoderLimitConfiguration()
        (limits.maxHeaderFieldSize, limits.maxHeaderListSize, limits.maxHeaderFieldCount) = (8_192, 16_384, 64)
        return limits
    }
}
