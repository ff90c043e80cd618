import Crypto
import SecureMemory

extension Identifier {
    /// What a master key is named by: 16 bytes that HKDF-SHA-256 (RFC 5869) makes of it, without salt, with `custody master
    /// key id v1` as info. So a row, its envelope and sealed data can't be of different keys unnoticed.
    public init(ofMasterKey key: LockedBytes) {
        let input = key.withBytes { span in span.withUnsafeBytes { SymmetricKey(data: $0) } }
        let output = HKDF<SHA256>.deriveKey(
            inputKeyMaterial: input, info: Array("custody master key id v1".utf8), outputByteCount: Self.length)
        self.init(derived: output.withUnsafeBytes { Array($0) })
    }
}
