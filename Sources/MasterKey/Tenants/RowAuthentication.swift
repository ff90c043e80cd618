import Crypto
import Foundation
import SecureMemory

/// Authenticates a tenant's row, and the journal of what replaced it, by the tenant's own master key.
///
/// The tag is HMAC-SHA-256 under a key that HKDF-SHA-256 (RFC 5869) makes of the master key, without salt, with `custody tenant
/// row v1` as info. It covers, each as 4 bytes of length (big-endian) and the bytes: the tenant's name; `kms` or `root-key`;
/// the root key's name, or nothing; the KMS key; the master key's id; the generation in 8 bytes (big-endian); and the SHA-256
/// of the KMS's ciphertext.
///
/// A journal entry's tag is made likewise, with `custody journal entry v1` as info, of the operation's id, the tenant, the kind,
/// the old KMS key, the new one, `retire` or `keep`, and the days of the waiting period in 8 bytes.
///
/// What rewrapping changes, the root key's version and the envelope, is not covered, so that it needs no master key: the root
/// key's own layer authenticates that, see ``TenantRecord/rootKeyContext``.
///
/// Whoever knows a master key can make a row of it that passes: what tells whether it is *the* tenant's stands elsewhere, see
/// ``TenantPins`` and ``RootKeyRequirement``.
struct RowAuthentication {
    private let rowKey: SymmetricKey
    private let entryKey: SymmetricKey

    init(by masterKey: LockedBytes) {
        let input = masterKey.withBytes { span in span.withUnsafeBytes { SymmetricKey(data: $0) } }
        let key = { (purpose: String) in
            HKDF<SHA256>.deriveKey(inputKeyMaterial: input, info: Array(purpose.utf8), outputByteCount: 32)
        }
        rowKey = key("custody tenant row v1")
        entryKey = key("custody journal entry v1")
    }

    func tag(of operation: OperationRecord) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: Self.content(operation), using: entryKey))
    }

    func isAuthentic(_ operation: OperationRecord) -> Bool {
        guard let tag = operation.tag else { return false }
        return HMAC<SHA256>.isValidAuthenticationCode(tag, authenticating: Self.content(operation), using: entryKey)
    }

    /// - Parameter ciphertext: The KMS's, which is the row's blob or lies in it.
    func tag(of record: TenantRecord, ciphertext: [UInt8]) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: Self.content(record, ciphertext), using: rowKey))
    }

    func isAuthentic(_ record: TenantRecord, ciphertext: [UInt8]) -> Bool {
        guard let tag = record.tag else { return false }
        return HMAC<SHA256>.isValidAuthenticationCode(tag, authenticating: Self.content(record, ciphertext), using: rowKey)
    }

    private static func content(_ record: TenantRecord, _ ciphertext: [UInt8]) -> [UInt8] {
        let (layers, rootKey) =
            switch record.layers {
            case .kms: ("kms", "")
            case .rootKeyOverKMS(let name, _): ("root-key", name)
            }
        let fields: [[UInt8]] = [
            Array(record.tenant.description.utf8), Array(layers.utf8), Array(rootKey.utf8), Array(record.kmsKey.rawValue.utf8),
            record.masterKeyID.bytes, bigEndian(record.generation), Array(SHA256.hash(data: ciphertext)),
        ]
        return joined(fields)
    }

    private static func content(_ operation: OperationRecord) -> [UInt8] {
        let retirement = operation.retiresOldKey.map { $0 ? "retire" : "keep" } ?? ""
        return joined([
            operation.id.bytes, Array(operation.tenant.description.utf8), Array(operation.kind.rawValue.utf8), Array(operation.oldKey.rawValue.utf8),
            Array((operation.newKey?.rawValue ?? "").utf8), Array(retirement.utf8), bigEndian(Int64(operation.deletionDays)),
        ])
    }

    private static func joined(_ fields: [[UInt8]]) -> [UInt8] { fields.flatMap { bigEndian(UInt32(clamping: $0.count)) + $0 } }

    private static func bigEndian(_ number: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: number.bigEndian) { Array($0) }
    }
}

extension TenantRecord {
    /// The same row with its tag.
    ///
    /// - Parameter ciphertext: The KMS's, which is the row's blob or lies in it.
    public func authenticated(by masterKey: LockedBytes, ciphertext: [UInt8]) -> TenantRecord {
        var record = self
        record.tag = RowAuthentication(by: masterKey).tag(of: self, ciphertext: ciphertext)
        return record
    }
}
