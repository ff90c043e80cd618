import AWSKMS
import CustodyClient
import Foundation
import MasterKey
import SecureMemory
import Synchronization
import TenantStorage
import Testing
import ToolSupport
import TestSupport

/// Which database a test runs on.
enum DatabaseKind: String, CaseIterable, Sendable {
    case sqlite, postgresql
}

/// A service with one tenant whose master key the test knows: a daemon with the root key `root`, a KMS behind a proxy that
/// can fail, a tenant database; and the program `custody-mek` to run against them.
final class TenantService: Sendable {
    let tenant: TenantName
    /// The tenant's master key in plain.
    let masterKey: [UInt8]
    let daemon: RunningDaemon
    let server: KMSServer
    let proxy: FaultProxy
    let address: String
    let directory: TemporaryDirectory
    /// The KMS key that the tenant begins with, and the ciphertext under it.
    let firstKey: KMSKeyID
    let firstCiphertext: [UInt8]

    /// - Parameters:
    ///   - daemon: nil for the one that all tests share whose root key nobody changes.
    ///   - server: nil for the one that all tests share.
    ///   - cluster: nil for the one that all tests share.
    init(
        _ kind: DatabaseKind, tenant name: String = "acme-\(Identifier())", daemon: RunningDaemon? = nil,
        server: KMSServer? = nil, cluster: PostgreSQLCluster? = nil
    ) async throws {
        tenant = try TenantName(name)
        directory = try TemporaryDirectory()
        let running: RunningDaemon
        if let daemon { running = daemon } else { running = try await SharedDaemon.daemon() }
        self.daemon = running
        let kmsServer: KMSServer
        if let server { kmsServer = server } else { kmsServer = try await KMSServer.shared() }
        self.server = kmsServer
        proxy = try await FaultProxy.start(upstream: kmsServer.endpoint)
        switch kind {
        case .sqlite: address = "sqlite:\(directory.file("tenants.db"))"
        case .postgresql:
            let used: PostgreSQLCluster
            if let cluster { used = cluster } else { used = try await PostgreSQLCluster.shared() }
            address = used.address(of: try await used.makeDatabase())
        }
        let bytes = LockedBytes.random(count: 32).exposed()
        masterKey = bytes
        let (tenant, address) = (tenant, address)
        (firstKey, firstCiphertext) = try await Self.withKMS(kmsServer) { kms in
            let key = try await kms.createKey(description: "first key of a test's tenant")
            let ciphertext = try await kms.encrypt(LockedBytes(bytes), under: key, context: tenant.encryptionContext)
            try await Self.withDatabase(address) { database in
                _ = try await database.migrate()
                _ = try await Registration(database: database, kms: kms)
                    .take(tenant, ciphertext: ciphertext, underKMSKey: key.rawValue, context: tenant.encryptionContext)
            }
            return (key, ciphertext)
        }
    }

    // MARK: Running custody-mek

    /// What the program finds in its environment: the KMS behind the proxy.
    var environment: [String: String] {
        server.environment.merging([
            "AWS_ENDPOINT_URL_KMS": proxy.endpoint, "CUSTODY_MEK_DATABASE": address, "CUSTODY_SOCKET": daemon.socket,
            "XDG_STATE_HOME": directory.file("state"),
        ]) { _, own in own }
    }

    /// Runs it to its end.
    func mek(_ arguments: String..., input: String = "") async throws -> ProcessResult {
        try await mek(arguments, input: input)
    }

    /// - Parameter other: What is to be found otherwise in the environment.
    func mek(_ arguments: [String], input: String = "", _ other: [String: String] = [:]) async throws -> ProcessResult {
        try await run("custody-mek", arguments: arguments, input: input, environment: environment.merging(other) { _, other in other })
    }

    /// Runs it and wants it to succeed.
    @discardableResult
    func ok(_ arguments: String..., input: String = "") async throws -> ProcessResult {
        let result = try await mek(arguments, input: input)
        guard result.status == .exited(0) else { throw UnexpectedResult(result) }
        return result
    }

    @discardableResult
    func enable() async throws -> ProcessResult { try await ok(arguments: enabling) }

    @discardableResult
    func ok(arguments: [String]) async throws -> ProcessResult {
        let result = try await mek(arguments)
        guard result.status == .exited(0) else { throw UnexpectedResult(result) }
        return result
    }

    /// The arguments that enable the tenant.
    var enabling: [String] { ["enable", "\(tenant)", "--root-key", "root", "--yes-i-understand", "\(tenant)"] }

    /// Runs it with `--json`, wants it to fail, and returns what it says of the error.
    func refusal(_ arguments: [String], exit code: Int32, _ other: [String: String] = [:]) async throws -> Refusal {
        let result = try await mek(arguments + ["--json"], other)
        guard result.status == .exited(code) else { throw UnexpectedResult(result) }
        return try JSONDecoder().decode(RefusalDocument.self, from: Data(result.output.utf8)).error
    }

    /// The environment of another machine, which has seen nothing of the tenant yet.
    var elsewhere: [String: String] { ["XDG_STATE_HOME": directory.file("state-\(UUID())")] }

    // MARK: Looking past the program

    /// The services as the test itself uses them, past the proxy.
    func withDatabase<R>(_ body: (any TenantDatabase) async throws -> R) async throws -> R { try await Self.withDatabase(address, body) }

    func withKMS<R>(_ body: (AWSKMSClient) async throws -> R) async throws -> R { try await Self.withKMS(server, body) }

    private static func withDatabase<R>(_ address: String, _ body: (any TenantDatabase) async throws -> R) async throws -> R {
        try await lending(TenantDatabases.open(address), closing: { await $0.close() }, to: body)
    }

    private static func withKMS<R>(_ server: KMSServer, _ body: (AWSKMSClient) async throws -> R) async throws -> R {
        try await lending(AWSKMSClient(.init(environment: server.environment)), closing: { await $0.shutdown() }, to: body)
    }

    func record() async throws -> TenantRecord { try await withDatabase { try await $0.existingRecord(of: tenant) } }

    func journal() async throws -> [(operation: OperationRecord, steps: [StepRecord])] {
        try await withDatabase { try await $0.operations(of: tenant) }
    }

    func unfinished() async throws -> OperationRecord? { try await withDatabase { try await $0.unfinishedOperation(of: tenant) } }

    /// Opens the tenant's master key as a service does, past the proxy.
    func open() async throws -> [UInt8] {
        try await withDatabase { database in
            try await withKMS { kms in
                try await daemon.withClient { client in
                    let key = try await MasterKeys(database: database, kms: kms, custody: client, cache: nil).open(tenant)
                    return try key.withBytes { span in span.withUnsafeBytes { Array($0) } }
                }
            }
        }
    }

    /// The KMS keys that the program had made, whether it heard of them or not, as the KMS sees them.
    func madeKeys() async throws -> [KMSKeyDescription] {
        let names = try proxy.answers("CreateKey").map { try JSONDecoder().decode(CreateKeyAnswer.self, from: Data($0)).KeyMetadata.Arn }
        return try await withKMS { kms in
            var found: [KMSKeyDescription] = []
            for name in names { found.append(try await kms.describe(name)) }
            return found
        }
    }

    private struct CreateKeyAnswer: Decodable {
        struct Metadata: Decodable {
            let Arn: String
        }
        let KeyMetadata: Metadata
    }

    // MARK: Invariants

    /// What holds whenever a run was stopped: the row opens to the same master key, and each KMS key that was made is known
    /// to the journal.
    func expectSafe(_ comment: Comment, _ location: SourceLocation = #_sourceLocation) async throws {
        #expect(try await open() == masterKey, comment, sourceLocation: location)
        let journal = try await journal().map(\.operation)
        let recorded = Set(journal.compactMap(\.newKey))
        let unknown = try await madeKeys().filter { !recorded.contains($0.id) && $0.state == .enabled }
        #expect(unknown.count <= journal.map(\.lostCreations).reduce(0, +), comment, sourceLocation: location)
    }

    /// What holds when a run has finished, however often it was stopped before.
    func expectEnabled(_ comment: Comment, _ location: SourceLocation = #_sourceLocation) async throws {
        try await expectSafe(comment, location)
        let record = try await record()
        #expect(record.isEnabled, comment, sourceLocation: location)
        #expect(record.kmsKey != firstKey, comment, sourceLocation: location)
        #expect(try await unfinished() == nil, comment, sourceLocation: location)
        let made = try await madeKeys()
        #expect(made.filter { $0.state == .enabled }.map(\.id) == [record.kmsKey], comment, sourceLocation: location)
        #expect(try await withKMS { try await $0.describe(firstKey.rawValue).state } == .pendingDeletion, comment, sourceLocation: location)
    }
}

/// What `custody-mek --json` says of an error.
struct Refusal: Decodable, Sendable {
    let code: String
    let message: String
    let state: String?
    let advice: String?
}

private struct RefusalDocument: Decodable {
    let error: Refusal
}

/// A daemon for all tests that leave its root key alone.
private enum SharedDaemon {
    private static let lock = AsyncLock()
    private static let running = Mutex<RunningDaemon?>(nil)

    static func daemon() async throws -> RunningDaemon {
        await lock.acquire()
        do {
            let daemon: RunningDaemon
            if let found = running.withLock({ $0 }) {
                daemon = found
            } else {
                daemon = try await RunningDaemon.start()
                running.withLock { $0 = daemon }
                // Statics never go by themselves.
                atexit { SharedDaemon.running.withLock { $0 = nil } }
            }
            await lock.release()
            return daemon
        } catch {
            await lock.release()
            throw error
        }
    }
}
