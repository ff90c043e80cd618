import MasterKey
import NIOPosix

/// Threads for calls that block. What is begun there ends there: a cancelled task waits for it.
final class BlockingThreads: Sendable {
    private let pool: NIOThreadPool

    init(_ count: Int) {
        pool = NIOThreadPool(numberOfThreads: count)
        pool.start()
    }

    deinit { pool.shutdownGracefully { _ in } }

    func run<R: Sendable>(_ body: @escaping @Sendable () throws(MasterKeyError) -> R) async throws(MasterKeyError) -> R {
        let result: Result<R, MasterKeyError> = await withCheckedContinuation { continuation in
            pool.submit { state in
                switch state {
                case .active: continuation.resume(returning: Result(catching: body))
                case .cancelled:
                    let closed = MasterKeyError(.databaseUnavailable, "the tenant database is closed")
                    continuation.resume(returning: .failure(closed))
                }
            }
        }
        return try result.get()
    }

    /// Lets what is running end; whatever comes later is refused.
    func close() async {
        try? await pool.shutdownGracefully()
    }
}
