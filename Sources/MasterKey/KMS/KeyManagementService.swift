import Foundation
import SecureMemory

/// A key of a cloud's KMS, by the name that never changes: at AWS its ARN.
public struct KMSKeyID: Sendable, Hashable, RawRepresentable, CustomStringConvertible {
    public let rawValue: String

    public init(rawValue: String) { self.rawValue = rawValue }

    public var description: String { rawValue }
}

/// What a KMS says of a key.
public struct KMSKeyDescription: Sendable, Hashable {
    public enum State: String, Sendable {
        case enabled, disabled
        case pendingDeletion = "pending deletion"
        /// Any other, in which the key can't be used.
        case unavailable
    }

    public let id: KMSKeyID
    public let state: State
    public let description: String
    public let deletionDate: Date?

    public init(id: KMSKeyID, state: State, description: String, deletionDate: Date?) {
        self.id = id
        self.state = state
        self.description = description
        self.deletionDate = deletionDate
    }
}

/// A cloud's key management service, as far as the double envelope needs one.
///
/// Every call to a KMS ends within the implementation's deadline, and has been tried again where that is safe. Errors have
/// the codes that begin with `kms`, or `cancelled`.
public protocol KeyManagementService: Sendable {
    /// Makes a symmetric key for encryption.
    ///
    /// Not safe to repeat: each call makes a key. An error with `kms-answer-lost` leaves open whether it was made; any other
    /// but `cancelled` means that it was not.
    ///
    /// - Parameter description: Given back by ``describe(_:)``, so that a key whose answer was lost can be found.
    func createKey(description: String) async throws(MasterKeyError) -> KMSKeyID

    /// - Parameter name: Any name of a key, at AWS also an alias.
    func describe(_ name: String) async throws(MasterKeyError) -> KMSKeyDescription

    /// The keys with exactly this description, in whatever state. Looks at every key of the account, with a call for each:
    /// slow, for the case of a lost answer only.
    func keys(describedAs description: String) async throws(MasterKeyError) -> [KMSKeyID]

    /// Encrypts 1 to 4,096 bytes.
    func encrypt(_ plaintext: LockedBytes, under key: KMSKeyID, context: [String: String]) async throws(MasterKeyError) -> [UInt8]

    func decrypt(_ ciphertext: [UInt8], under key: KMSKeyID, context: [String: String]) async throws(MasterKeyError) -> LockedBytes

    /// Has the key deleted after a waiting period of 7 to 30 days. Done as well if its deletion was scheduled before, or if
    /// it is gone.
    func scheduleDeletion(of key: KMSKeyID, afterDays days: Int) async throws(MasterKeyError)
}
