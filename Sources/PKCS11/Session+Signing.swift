import CPKCS11

/// Message authentication (PKCS#11 v2.40 section 5.11; Current Mechanisms section 2.24).
extension Session {
    /// The length of an HMAC-SHA-256, in bytes.
    public static var hmacSHA256Length: Int { 32 }

    /// HMAC-SHA-256 (RFC 2104, FIPS 198-1) by C_SignInit and C_Sign.
    ///
    /// Whoever checks one computes it anew and compares: tokens disagree on what C_Verify returns for a wrong one.
    public func hmacSHA256(_ key: ObjectHandle, of message: [UInt8]) throws(PKCS11Error) -> [UInt8] {
        var parameters = CK_MECHANISM(mechanism: CKM_SHA256_HMAC, pParameter: nil, ulParameterLen: 0)
        try module.call(.signInit, module.functions.pointee.C_SignInit) { $0(handle, &parameters, key.rawValue) }
        var message = message
        var output = [UInt8](repeating: 0, count: Self.hmacSHA256Length)
        var length = CK_ULONG(output.count)
        let size = CK_ULONG(message.count)
        try module.call(.sign, module.functions.pointee.C_Sign) { $0(handle, &message, size, &output, &length) }
        guard length == CK_ULONG(Self.hmacSHA256Length) else { throw PKCS11Error(.sign, .functionFailed) }
        return output
    }
}
