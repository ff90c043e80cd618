import Foundation
import FoundationNetworking
import Synchronization

/// A stand-in for the cloud's KMS in a process of its own, on a free port of 127.0.0.1. It ends with the last reference, and
/// with this process.
///
/// It keeps its keys in memory. A start takes a second and 80 MiB, so tests share one and make keys of their own.
public final class KMSServer: Sendable {
    public enum Kind: String, Sendable {
        /// moto: real encryption. It takes no notice of a key's state, nor of signatures until ``guardWithSignatures()``.
        case encrypting = "serve"
        /// MiniStack: refuses what a key's state forbids. Its ciphertexts are not authenticated.
        case honouringStates = "serve-states"
    }

    public static let region = "eu-central-1"

    /// Such as `http://127.0.0.1:4711`.
    public let endpoint: String
    private let process: ChildProcess
    private let directory: TemporaryDirectory

    /// Starts one of the test's own.
    public init(_ kind: Kind = .encrypting, environment: [String: String] = [:]) async throws {
        let directory = try TemporaryDirectory()
        let file = directory.file("address")
        let process = try ChildProcess(try Self.python(), arguments: [try Self.script(), kind.rawValue, file], environment: environment)
        endpoint = try await process.value("the KMS's address") {
            // It is renamed into its place: what is there is whole.
            try? String(contentsOfFile: file, encoding: .utf8)
        }
        self.directory = directory
        self.process = process
    }

    /// The one that all tests of this process share.
    public static func shared() async throws -> KMSServer { try await start(.encrypting) }

    /// The shared one that refuses to encrypt and decrypt with keys that are disabled or to be deleted.
    public static func honouringStates() async throws -> KMSServer { try await start(.honouringStates) }

    /// What a client needs in its environment.
    public var environment: [String: String] {
        [
            "AWS_ENDPOINT_URL_KMS": endpoint, "AWS_REGION": Self.region, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        ]
    }

    /// Keys of a user or of a role that somebody assumed.
    public struct Keys: Sendable, Decodable {
        public let id: String
        public let secret: String
        public let token: String?
    }

    /// Makes users with policies, and checks signatures and policies from now on. For a server of the test's own.
    ///
    /// - Parameter allowing: What each user may do, such as `["kms:Encrypt"]`, by the user's name. A name that begins with
    ///   `role` is a role's, with temporary keys.
    public func guardWithSignatures(allowing: [String: [String]]) async throws -> [String: Keys] {
        let input = String(decoding: try JSONEncoder().encode(allowing), as: UTF8.self)
        let result = try await run(
            try Self.python(), arguments: [try Self.script(), "guard"], input: input, environment: ["KMS_ENDPOINT": endpoint])
        guard result.status == .exited(0) else { throw UnexpectedResult(result) }
        return try JSONDecoder().decode([String: Keys].self, from: Data(result.output.utf8))
    }

    /// Makes a call that the client has not, such as `DisableKey`, and returns the answer's members.
    @discardableResult
    public func call(_ operation: String, _ members: [String: String]) async throws -> [String: Any] {
        guard let url = URL(string: endpoint) else { throw NotInstalled(description: "'\(endpoint)' is no address") }
        var request = URLRequest(url: url)
        request.httpMethod = "POST"
        request.httpBody = try JSONEncoder().encode(members)
        let credential = "AWS4-HMAC-SHA256 Credential=test/20260101/\(Self.region)/kms/aws4_request, SignedHeaders=host, Signature=0"
        for (name, value) in [
            "X-Amz-Target": "TrentService.\(operation)", "Content-Type": "application/x-amz-json-1.1", "Authorization": credential,
        ] { request.setValue(value, forHTTPHeaderField: name) }
        let (data, response) = try await URLSession.shared.data(for: request)
        guard (response as? HTTPURLResponse)?.statusCode == 200 else {
            throw UnexpectedResult("\(operation): \(String(decoding: data, as: UTF8.self))", process)
        }
        return data.isEmpty ? [:] : try JSONSerialization.jsonObject(with: data) as? [String: Any] ?? [:]
    }

    // MARK: Sharing

    private static let lock = AsyncLock()
    private static let running = Mutex<[Kind: KMSServer]>([:])

    private static func start(_ kind: Kind) async throws -> KMSServer {
        await lock.acquire()
        do {
            if let server = running.withLock({ $0[kind] }), server.process.status == nil {
                await lock.release()
                return server
            }
            let server = try await KMSServer(kind)
            running.withLock { running in
                // Statics never go; so that they end, and their folders with them:
                if running.isEmpty { atexit { KMSServer.running.withLock { $0 = [:] } } }
                running[kind] = server
            }
            await lock.release()
            return server
        } catch {
            await lock.release()
            throw error
        }
    }

    // MARK: Places

    private static var checkout: String {
        // Of this file: Tests/TestSupport/KMSServer.swift.
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
    }

    /// The interpreter that has the servers' packages.
    public static func python() throws -> String {
        let own = "\(checkout)/.build-python/bin/python"
        let path = ProcessInfo.processInfo.environment["CUSTODY_TEST_PYTHON"] ?? own
        guard FileManager.default.isExecutableFile(atPath: path) else {
            throw NotInstalled(
                description: "cannot find \(path); make it with need_python of scripts/support/common.sh, or name another in CUSTODY_TEST_PYTHON")
        }
        return path
    }

    private static func script() throws -> String { try SoftHSM.firstFile(of: ["\(checkout)/scripts/support/kms.py"], "kms.py") }
}
