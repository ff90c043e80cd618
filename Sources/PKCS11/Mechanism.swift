import CPKCS11

/// A mechanism's number (CK_MECHANISM_TYPE; PKCS#11 Current Mechanisms).
public struct Mechanism: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: UInt

    public init(rawValue: UInt) { self.rawValue = rawValue }

    public static let aesKeyGeneration = Mechanism(rawValue: CKM_AES_KEY_GEN)
    public static let aesGCM = Mechanism(rawValue: CKM_AES_GCM)
    public static let aesECB = Mechanism(rawValue: CKM_AES_ECB)
    public static let aesCBCPad = Mechanism(rawValue: CKM_AES_CBC_PAD)
    public static let aesKeyWrap = Mechanism(rawValue: CKM_AES_KEY_WRAP)
    public static let aesKeyWrapPad = Mechanism(rawValue: CKM_AES_KEY_WRAP_PAD)
    /// RFC 5649 with PKCS#11 3.0's own number.
    public static let aesKeyWrapKWP = Mechanism(rawValue: 0x210B)
    public static let sha256HMAC = Mechanism(rawValue: CKM_SHA256_HMAC)
    public static let genericSecretKeyGeneration = Mechanism(rawValue: CKM_GENERIC_SECRET_KEY_GEN)

    public var description: String {
        switch self {
        case .aesKeyGeneration: "CKM_AES_KEY_GEN"
        case .aesGCM: "CKM_AES_GCM"
        case .aesECB: "CKM_AES_ECB"
        case .aesCBCPad: "CKM_AES_CBC_PAD"
        case .aesKeyWrap: "CKM_AES_KEY_WRAP"
        case .aesKeyWrapPad: "CKM_AES_KEY_WRAP_PAD"
        case .aesKeyWrapKWP: "CKM_AES_KEY_WRAP_KWP"
        case .sha256HMAC: "CKM_SHA256_HMAC"
        case .genericSecretKeyGeneration: "CKM_GENERIC_SECRET_KEY_GEN"
        default: "CKM_0x" + String(rawValue, radix: 16, uppercase: true)
        }
    }
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
