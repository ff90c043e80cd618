import CustodyClient
import CustodyProtocol
import SecureMemory

/// The user's root key behind `custodyd`, which makes and opens the outer layer. Both bind it to the tenant, its master key and
/// the generation of its envelope.
struct RootKeyService: Sendable {
    private let client: CustodyClient

    init(_ client: CustodyClient) { self.client = client }

    /// - Parameter record: The row that the envelope is made for, with its new generation.
    func wrap(
        _ ciphertext: [UInt8], under name: String, for record: TenantRecord
    ) async throws(MasterKeyError) -> (blob: [UInt8], layers: EnvelopeLayers) {
        do {
            let wrapped = try await client.wrap(SecretBytes(ciphertext), key: name, context: record.rootKeyContext)
            return (wrapped.blob, .rootKeyOverKMS(name: wrapped.keyName, version: wrapped.keyVersion))
        } catch {
            throw Self.translate(error, "root key '\(name)' could not wrap for tenant \(record.tenant)")
        }
    }

    /// - Parameter context: What it was made with, if that is not what the row says.
    /// - Returns: What the envelope holds, and the root key by which it was opened.
    func unwrap(
        _ blob: [UInt8], of record: TenantRecord, context: [String: String]? = nil
    ) async throws(MasterKeyError) -> (ciphertext: [UInt8], layers: EnvelopeLayers) {
        do {
            let opened = try await client.unwrap(blob, context: context ?? record.rootKeyContext)
            return (opened.plaintext.exposed(), .rootKeyOverKMS(name: opened.keyName, version: opened.keyVersion))
        } catch {
            throw Self.translate(error, "the root key did not open the envelope of tenant \(record.tenant)")
        }
    }

    func rewrap(_ record: TenantRecord) async throws(MasterKeyError) -> (blob: [UInt8], layers: EnvelopeLayers) {
        do {
            let wrapped = try await client.rewrap(record.blob, context: record.rootKeyContext)
            return (wrapped.blob, .rootKeyOverKMS(name: wrapped.keyName, version: wrapped.keyVersion))
        } catch {
            throw Self.translate(error, "the envelope of tenant \(record.tenant) could not be wrapped anew")
        }
    }

    /// The one place where the daemon's errors become the flow's.
    private static func translate(_ error: CustodyClientError, _ what: String) -> MasterKeyError {
        let (code, advice): (MasterKeyError.Code, String) =
            switch error.code {
            case .server(.keyNotFound):
                (.rootKeyNotFound,
                 "if the token is the right one, this root key was removed; without a backup of the HSM nothing opens what it wrapped, ever")
            case .server(.keyNotUsable), .server(.keyRefused):
                (.rootKeyNotUsable, "the user's operator has disabled the root key, or custodyd refuses it: `custodyctl key list` shows which")
            case .server(.denied):
                (.rootKeyDenied,
                 "let custodyd's configuration grant this user the operation on the key for this tenant; its audit log says which call was denied")
            case .server(.tokenLocked): (.tokenLocked, "the HSM refused custodyd's PIN; its operator has to act, see `custodyctl status`")
            case .server(.tokenUnavailable):
                (.tokenUnavailable, "custodyd has no HSM token at the moment; it connects by itself when the token is back")
            case .server(.decryptionFailed), .server(.malformedBlob), .server(.unsupportedFormat):
                (.envelopeRefused, "the stored envelope was altered, or belongs to another tenant; restore the row from a backup")
            case .server(.overloaded), .server(.deadlineExceeded), .server(.shuttingDown), .server(.auditUnavailable):
                (.daemonUnavailable, "try again; `custodyctl status` tells what custodyd lacks")
            case .cannotConnect, .connectionLost, .deadlineExceeded:
                (.daemonUnavailable, "see that custodyd runs and that --socket names its socket")
            case .cancelled: (.cancelled, "run it again")
            case .server, .protocolViolation, .requestTooLarge, .shutDown: (.daemonFailed, "see custodyd's log")
            }
        return MasterKeyError(code, "\(what): \(error)", advice: advice, cause: error)
    }
}
