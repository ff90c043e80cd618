import Foundation
import Logging
import PKCS11
import SecureMemory
import Synchronization
import TestSupport
import Testing

@testable import Custody

/// A custodian over a token, as the daemon builds it.
struct Vault {
    let custodian: Custodian
    private let connection: TokenConnection
    private let state: StateDirectory
    let auditFile: String

    init(
        _ token: SoftHSMToken, grants: [Grant] = [.everything()], module: String? = nil, pinFile: String? = nil,
        auditFile: String? = nil, queueLimit: Int = 1_024, workers: Int = 1, lookInterval: Duration = .seconds(3_600)
    ) throws {
        let settings = TokenSettings(
            module: module ?? token.modulePath, uri: token.uri, pin: PINSource(path: pinFile ?? token.pinFile), sessions: workers)
        // So long a pause between the keeper's looks that whatever is seen was looked for because of a request.
        connection = TokenConnection(
            settings, catalog: KeyCatalog(), lookInterval: lookInterval,
            log: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        self.auditFile = auditFile ?? token.directory.file("audit.jsonl")
        state = try StateDirectory(token.directory.file("state"))
        custodian = try Custodian(
            rules: Rules(policy: Policy(grants: grants)), file: "custody.toml",
            audit: AuditLog(AuditSettings(file: self.auditFile, stateDirectory: state.path)), state: state,
            connection: connection, workers: workers, queueLimit: queueLimit,
            log: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
    }

    func request(
        _ operations: [Custody.Operation], by principal: Principal = .owner, within patience: Duration = .seconds(60),
        caller: CallerPresence = CallerPresence()
    ) -> CustodyRequest {
        CustodyRequest(
            principal: principal, caller: caller,
            items: operations.map { .init(kind: $0.kind, operation: .success($0)) }, onBehalfOf: .empty, connection: 1, request: 1, arrival: .now, deadline: .now + patience)
    }

    func answers(_ operations: [Custody.Operation], by principal: Principal = .owner) async -> CustodyReply {
        let request = request(operations, by: principal)
        return await withCheckedContinuation { continuation in
            custodian.submit(request) { continuation.resume(returning: $0) }
        }
    }

    func answer(_ operation: Custody.Operation, by principal: Principal = .owner) async throws(CustodyError) -> Answer {
        let reply = await answers([operation], by: principal)
        guard reply.count == 1 else { throw CustodyError(.internalError, "\(reply.count) answers to one operation") }
        return try reply[0].get()
    }

    func code(_ operation: Custody.Operation, by principal: Principal = .owner) async -> CustodyError.Code? {
        do throws(CustodyError) {
            _ = try await answer(operation, by: principal)
            return nil
        } catch {
            return error.code
        }
    }

    func wrap(_ bytes: [UInt8], key: KeyName = "root", _ context: EncryptionContext = .empty) async throws -> [UInt8] {
        guard case .wrapped(let blob, _) = try await answer(.wrap(key: key, plaintext: secret(bytes), context: context)) else {
            throw Succeeded()
        }
        return blob
    }

    func unwrap(_ blob: [UInt8], _ context: EncryptionContext = .empty) async throws -> [UInt8] {
        guard case .unwrapped(let bytes, _) = try await answer(.unwrap(blob: blob, context: context)) else { throw Succeeded() }
        return bytes.withBytes { $0.withUnsafeBytes { Array($0) } }
    }

    /// The decisions in the audit log.
    func auditLines() throws -> [String] {
        try String(contentsOfFile: auditFile, encoding: .utf8).split(separator: "\n").map(String.init)
            .filter { $0.contains(",\"operation\":") }
    }

    /// Does something to the token in a session that the vault knows nothing of.
    func behindItsBack<R>(_ body: (borrowing Session) throws -> R) throws -> R {
        let thread = CallingThread("test")
        let link = try connection.acquire(thread)
        defer { connection.release(thread) }
        return try body(link.module.openSession(link.token.slot, readWrite: true))
    }

    /// Stops it; on a thread where blocking holds nobody up.
    func stop(drainingFor patience: Duration = .seconds(60)) async {
        let custodian = custodian
        await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                custodian.stop(drainingFor: patience)
                continuation.resume()
            }
        }
    }

    func waitUntilReady() async throws {
        try await eventually("a token that is ready") {
            if case .ready = custodian.tokenState { true } else { false }
        }
    }
}

extension SoftHSMToken {
    /// Lends a vault that is ready, over this token with these keys on it, and stops it afterwards.
    func withVault<R>(
        keys: [RootKeyTemplate] = [RootKeyTemplate(id: KeyID(newFor: 1).bytes)], grants: [Grant] = [.everything()],
        workers: Int = 1, auditFile: String? = nil, _ body: (Vault) async throws -> R
    ) async throws -> R {
        try withSession { session in for key in keys { try key.generate(session) } }
        let vault = try Vault(self, grants: grants, auditFile: auditFile, workers: workers)
        vault.custodian.start()
        do {
            try await vault.waitUntilReady()
            let result = try await body(vault)
            await vault.stop()
            return result
        } catch {
            await vault.stop()
            throw error
        }
    }
}
