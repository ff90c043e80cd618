import MasterKey
import PostgreSQL
import Synchronization

/// A lock that belongs to a session of its own: the server frees it when the session ends, however. If the connection is
/// lost the lock may be gone while its holder goes on; what is written is checked against the row's revision for that.
final class AdvisoryLock: TenantLock {
    private let session: Mutex<PostgreSQLSession?>
    private let key: Int64
    private let threads: BlockingThreads

    init(_ session: PostgreSQLSession, key: Int64, threads: BlockingThreads) {
        self.session = Mutex(session)
        self.key = key
        self.threads = threads
    }

    func release() async {
        guard let session = session.withLock({ $0.take() }) else { return }
        let key = key
        // The server sees the end of a connection in its own time: said explicitly, the lock is free when this returns.
        _ = try? await threads.run { () throws(MasterKeyError) in
            try session.run("SELECT pg_advisory_unlock($1)", .integer(key))
        }
    }
}
