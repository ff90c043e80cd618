import CPKCS11

/// A mechanism's number (CK_MECHANISM_TYPE; PKCS#11 Current Mechanisms).
public struct Mechanism: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: UInt

    public init(rawValue: UInt) { self.rawValue = rawValue }

    public static let aesKeyGeneration = Mechanism(rawValue: CKM_AES_KEY_GEN)
    public static let aesGCM = Mechanism(rawValue: CKM_AES_GCM)
    public static let aesECB = Mechanism(rawValue: CKM_AES_ECB)
    public static let aesCBC = Mechanism(rawValue: CKM_AES_CBC)
    public static let aesCBCPad = Mechanism(rawValue: CKM_AES_CBC_PAD)
    public static let aesCTR = Mechanism(rawValue: CKM_AES_CTR)
    public static let aesKeyWrap = Mechanism(rawValue: CKM_AES_KEY_WRAP)
    public static let aesKeyWrapPad = Mechanism(rawValue: CKM_AES_KEY_WRAP_PAD)
    /// RFC 5649 with PKCS#11 3.0's own number.
    public static let aesKeyWrapKWP = Mechanism(rawValue: 0x210B)
    public static let sha256HMAC = Mechanism(rawValue: CKM_SHA256_HMAC)
    public static let genericSecretKeyGeneration = Mechanism(rawValue: CKM_GENERIC_SECRET_KEY_GEN)
    public static let rsaKeyPairGeneration = Mechanism(rawValue: CKM_RSA_PKCS_KEY_PAIR_GEN)
    public static let rsaPKCS = Mechanism(rawValue: CKM_RSA_PKCS)
    public static let rsaOAEP = Mechanism(rawValue: CKM_RSA_PKCS_OAEP)
    public static let rsaX509 = Mechanism(rawValue: CKM_RSA_X_509)
    public static let rsaAESKeyWrap = Mechanism(rawValue: CKM_RSA_AES_KEY_WRAP)
    public static let desKeyGeneration = Mechanism(rawValue: CKM_DES_KEY_GEN)
    public static let desECB = Mechanism(rawValue: CKM_DES_ECB)
    public static let desCBC = Mechanism(rawValue: CKM_DES_CBC)
    public static let desCBCPad = Mechanism(rawValue: CKM_DES_CBC_PAD)
    public static let des3KeyGeneration = Mechanism(rawValue: CKM_DES3_KEY_GEN)
    public static let des3ECB = Mechanism(rawValue: CKM_DES3_ECB)
    public static let des3CBC = Mechanism(rawValue: CKM_DES3_CBC)
    public static let des3CBCPad = Mechanism(rawValue: CKM_DES3_CBC_PAD)
    public static let camelliaKeyGeneration = Mechanism(rawValue: CKM_CAMELLIA_KEY_GEN)
    public static let camelliaECB = Mechanism(rawValue: CKM_CAMELLIA_ECB)
    public static let camelliaCBC = Mechanism(rawValue: CKM_CAMELLIA_CBC)
    public static let camelliaCBCPad = Mechanism(rawValue: CKM_CAMELLIA_CBC_PAD)
    public static let ariaKeyGeneration = Mechanism(rawValue: CKM_ARIA_KEY_GEN)
    public static let ariaECB = Mechanism(rawValue: CKM_ARIA_ECB)
    public static let ariaCBC = Mechanism(rawValue: CKM_ARIA_CBC)
    public static let ariaCBCPad = Mechanism(rawValue: CKM_ARIA_CBC_PAD)
    public static let seedKeyGeneration = Mechanism(rawValue: CKM_SEED_KEY_GEN)
    public static let seedECB = Mechanism(rawValue: CKM_SEED_ECB)
    public static let seedCBC = Mechanism(rawValue: CKM_SEED_CBC)
    public static let seedCBCPad = Mechanism(rawValue: CKM_SEED_CBC_PAD)

    public var description: String { Self.names[self] ?? "CKM_0x" + String(rawValue, radix: 16, uppercase: true) }

    private static let names: [Mechanism: String] = [
        .aesKeyGeneration: "CKM_AES_KEY_GEN", .aesGCM: "CKM_AES_GCM", .aesECB: "CKM_AES_ECB", .aesCBC: "CKM_AES_CBC",
        .aesCBCPad: "CKM_AES_CBC_PAD", .aesCTR: "CKM_AES_CTR", .aesKeyWrap: "CKM_AES_KEY_WRAP",
        .aesKeyWrapPad: "CKM_AES_KEY_WRAP_PAD", .aesKeyWrapKWP: "CKM_AES_KEY_WRAP_KWP", .sha256HMAC: "CKM_SHA256_HMAC",
        .genericSecretKeyGeneration: "CKM_GENERIC_SECRET_KEY_GEN", .rsaKeyPairGeneration: "CKM_RSA_PKCS_KEY_PAIR_GEN",
        .rsaPKCS: "CKM_RSA_PKCS", .rsaOAEP: "CKM_RSA_PKCS_OAEP", .rsaX509: "CKM_RSA_X_509",
        .rsaAESKeyWrap: "CKM_RSA_AES_KEY_WRAP", .desKeyGeneration: "CKM_DES_KEY_GEN", .desECB: "CKM_DES_ECB",
        .desCBC: "CKM_DES_CBC", .desCBCPad: "CKM_DES_CBC_PAD", .des3KeyGeneration: "CKM_DES3_KEY_GEN", .des3ECB: "CKM_DES3_ECB",
        .des3CBC: "CKM_DES3_CBC", .des3CBCPad: "CKM_DES3_CBC_PAD", .camelliaKeyGeneration: "CKM_CAMELLIA_KEY_GEN",
        .camelliaECB: "CKM_CAMELLIA_ECB", .camelliaCBC: "CKM_CAMELLIA_CBC", .camelliaCBCPad: "CKM_CAMELLIA_CBC_PAD",
        .ariaKeyGeneration: "CKM_ARIA_KEY_GEN", .ariaECB: "CKM_ARIA_ECB", .ariaCBC: "CKM_ARIA_CBC",
        .ariaCBCPad: "CKM_ARIA_CBC_PAD", .seedKeyGeneration: "CKM_SEED_KEY_GEN", .seedECB: "CKM_SEED_ECB",
        .seedCBC: "CKM_SEED_CBC", .seedCBCPad: "CKM_SEED_CBC_PAD",
    ]
}

/// What a token says of a mechanism (CK_MECHANISM_INFO). Tokens are known to list what they then refuse.
public struct MechanismInfo: Sendable, Hashable {
    public let minimumKeySize: Int
    public let maximumKeySize: Int
    public let canEncrypt: Bool
    public let canDecrypt: Bool
    public let canWrap: Bool
    public let canGenerate: Bool

    init(_ info: CK_MECHANISM_INFO) {
        minimumKeySize = Int(clamping: info.ulMinKeySize)
        maximumKeySize = Int(clamping: info.ulMaxKeySize)
        canEncrypt = info.flags & CKF_ENCRYPT != 0
        canDecrypt = info.flags & CKF_DECRYPT != 0
        canWrap = info.flags & CKF_WRAP != 0
        canGenerate = info.flags & CKF_GENERATE != 0
    }
}
