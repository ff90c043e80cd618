import ByteEncoding
import Crypto
import PKCS11
import SecureMemory

/// A short check value of a PIN that a token has refused, by which the same PIN is known again.
///
/// Only of a refused PIN: of one that may be right nothing is ever stored. Who steals the value learns 16 bits of a wrong PIN, and has
/// to compute PBKDF2 (RFC 8018) for each guess. More bits would tell more of what may be a right PIN with one wrong digit; with 16, one
/// in 65,536 other PINs is taken for a refused one, and then the operator is told what to do.
enum PINCheck {
    private static let iterations = 20_000
    private static let length = 2

    /// - Parameter salt: Random, of the file that the value stands in.
    static func value(of pin: SecretBytes, salt: [UInt8], holder: String) -> String {
        let key = pin.withBytes { SymmetricKey(data: $0.withUnsafeBytes { Array($0) }) }
        return hexadecimal(pbkdf2(key, salt: salt + Array(holder.utf8), iterations: iterations).prefix(length))
    }

    /// The first block of PBKDF2 with HMAC-SHA-256: 32 bytes.
    static func pbkdf2(_ password: SymmetricKey, salt: [UInt8], iterations: Int) -> [UInt8] {
        var block = Array(HMAC<SHA256>.authenticationCode(for: salt + [0, 0, 0, 1], using: password))
        var result = block
        for _ in 1..<iterations {
            block = Array(HMAC<SHA256>.authenticationCode(for: block, using: password))
            for index in result.indices { result[index] ^= block[index] }
        }
        return result
    }
}
