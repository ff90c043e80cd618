import Crypto
import Foundation
import SecureMemory
import Synchronization

/// A tenant's master key in plain: in locked memory, zeroed when it is dropped or when the last reference goes.
public final class OpenedMasterKey: Sendable {
    public let tenant: TenantName
    /// What sealed data name it by.
    public let id: Identifier
    private let bytes: Mutex<LockedBytes?>

    init(tenant: TenantName, id: Identifier, bytes: LockedBytes) {
        self.tenant = tenant
        self.id = id
        self.bytes = Mutex(bytes)
    }

    /// Whether the kernel keeps it out of swap; false where the limit on locked memory forbids it.
    public var isMemoryLocked: Bool { bytes.withLock { $0?.isLocked } ?? true }

    /// Forgets it now, for everybody who holds a reference. Later uses fail with `master-key-dropped`.
    public func drop() { bytes.withLock { $0 = nil } }

    /// Encrypts data under it.
    ///
    /// - Parameter associatedData: What the data belong to, such as table, row and column. It is authenticated and not
    ///   stored: opening needs the same again.
    /// - Throws: ``MasterKeyError`` with `master-key-dropped`.
    public func seal(
        _ plaintext: some DataProtocol, associatedData: some Sequence<UInt8> = []
    ) throws(MasterKeyError) -> SealedData {
        let key = try symmetricKey()
        do {
            return try SealedData.seal(plaintext, under: key, id: id, associatedData: associatedData)
        } catch {
            throw MasterKeyError(.dataMalformed, "the data can't be sealed: \(error)", cause: error)
        }
    }

    /// Decrypts what ``seal(_:associatedData:)`` gave.
    ///
    /// - Throws: ``MasterKeyError`` with `data-of-another-key`, `data-altered` (or other associated data), or
    ///   `master-key-dropped`.
    public func open(
        _ sealed: SealedData, associatedData: some Sequence<UInt8> = []
    ) throws(MasterKeyError) -> SecretBytes {
        guard sealed.masterKeyID == id else {
            throw MasterKeyError(
                .dataOfAnotherKey, "the data are sealed under master key \(sealed.masterKeyID), tenant \(tenant) has \(id)",
                advice: "open them for the tenant that they belong to")
        }
        let key = try symmetricKey()
        do {
            var plaintext = try sealed.open(under: key, associatedData: associatedData)
            defer { plaintext.resetBytes(in: plaintext.startIndex..<plaintext.endIndex) }
            return SecretBytes(plaintext)
        } catch {
            throw MasterKeyError(
                .dataAltered, "the data do not open: they, or the associated data, are not what was sealed for tenant \(tenant)", cause: error)
        }
    }

    /// Lends the bytes, for services that encrypt in a way of their own.
    public func withBytes<R>(_ body: (RawSpan) -> R) throws(MasterKeyError) -> R { try held().withBytes(body) }

    /// The library zeroes its copy when it goes out of use.
    private func symmetricKey() throws(MasterKeyError) -> SymmetricKey {
        try held().withBytes { span in span.withUnsafeBytes { SymmetricKey(data: $0) } }
    }

    private func held() throws(MasterKeyError) -> LockedBytes {
        guard let held = bytes.withLock({ $0 }) else {
            throw MasterKeyError(.masterKeyDropped, "the master key of tenant \(tenant) was dropped", advice: "open it again")
        }
        return held
    }
}
