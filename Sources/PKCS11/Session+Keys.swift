import CPKCS11

/// Keys and AES-GCM (PKCS#11 v2.40 sections 5.8, 5.9 and 5.13; Current Mechanisms section 2.12).
extension Session {
    /// The length of AES-GCM's nonce that Custody uses: 96 bits (NIST SP 800-38D section 8.2.2).
    public static var gcmNonceLength: Int { 12 }
    /// The length of AES-GCM's tag that Custody uses: 128 bits.
    public static var gcmTagLength: Int { 16 }

    /// C_GenerateKey. Write every attribute out: the tokens' defaults differ and some are dangerous.
    public func generateKey(_ mechanism: Mechanism, _ template: [Attribute]) throws(PKCS11Error) -> ObjectHandle {
        var key: CK_OBJECT_HANDLE = 0
        var parameters = CK_MECHANISM(mechanism: mechanism.rawValue, pParameter: nil, ulParameterLen: 0)
        try withTemplate(template) { (pointer, count) throws(PKCS11Error) in
            try module.call(.generateKey, module.functions.pointee.C_GenerateKey) { $0(handle, &parameters, pointer, count, &key) }
        }
        return ObjectHandle(rawValue: key)
    }

    /// AES-256-GCM by C_EncryptInit and C_Encrypt: appends the ciphertext and the 16-byte tag to `output`.
    public func encryptGCM(
        _ key: ObjectHandle, nonce: RawSpan, aad: RawSpan, plaintext: RawSpan, appendingTo output: inout [UInt8]
    ) throws(PKCS11Error) {
        try initializeGCM(.encryptInit, module.functions.pointee.C_EncryptInit, key, nonce, aad)
        let length = plaintext.byteCount + Self.gcmTagLength
        try run(.encrypt, module.functions.pointee.C_Encrypt, plaintext, appendingTo: &output, length: length)
    }

    /// AES-256-GCM by C_DecryptInit and C_Decrypt.
    ///
    /// - Parameter ciphertext: The ciphertext with its 16-byte tag at the end.
    /// - Returns: The plaintext. The caller wipes it.
    /// - Throws: ``PKCS11Error``. Tokens disagree on the value for a wrong tag; see the table of faults in `Custody`.
    public func decryptGCM(
        _ key: ObjectHandle, nonce: RawSpan, aad: RawSpan, ciphertext: RawSpan
    ) throws(PKCS11Error) -> [UInt8] {
        try initializeGCM(.decryptInit, module.functions.pointee.C_DecryptInit, key, nonce, aad)
        var plaintext: [UInt8] = []
        let length = max(0, ciphertext.byteCount - Self.gcmTagLength)
        try run(.decrypt, module.functions.pointee.C_Decrypt, ciphertext, appendingTo: &plaintext, length: length)
        return plaintext
    }

    @inline(__always)
    private func initializeGCM(
        _ function: Function, _ entry: CK_C_EncryptInit?, _ key: ObjectHandle, _ nonce: RawSpan, _ aad: RawSpan
    ) throws(PKCS11Error) {
        guard let entry else { throw PKCS11Error(function, .functionNotSupported) }
        let returned = nonce.withUnsafeBytes { nonceBytes in
            aad.withUnsafeBytes { aadBytes in
                // The 48-byte form with ulIvBits, which every module takes; a pointer is never NULL with a length.
                var gcm = CK_GCM_PARAMS()
                gcm.pIv = nonceBytes.mutableBytes
                gcm.ulIvLen = UInt(nonceBytes.count)
                gcm.ulIvBits = UInt(nonceBytes.count * 8)
                gcm.pAAD = aadBytes.isEmpty ? nil : aadBytes.mutableBytes
                gcm.ulAADLen = UInt(aadBytes.count)
                gcm.ulTagBits = UInt(Self.gcmTagLength * 8)
                return withUnsafeMutableBytes(of: &gcm) { parameter in
                    var mechanism = CK_MECHANISM(
                        mechanism: CKM_AES_GCM, pParameter: parameter.baseAddress, ulParameterLen: UInt(parameter.count))
                    return module.observing(function) { entry(handle, &mechanism, key.rawValue) }
                }
            }
        }
        guard returned == CKR_OK else { throw PKCS11Error(function, ReturnValue(rawValue: returned)) }
    }

    /// One-part operation into a buffer of input + 16 bytes both ways, without a query for the length: SoftHSM wants a
    /// ciphertext-sized buffer to decrypt, and NSS forgets the tag when asked.
    ///
    /// - Parameter expected: The output's length, which GCM leaves no choice of.
    @inline(__always)
    private func run(
        _ function: Function, _ entry: CK_C_Encrypt?, _ input: RawSpan, appendingTo output: inout [UInt8], length expected: Int
    ) throws(PKCS11Error) {
        guard let entry else { throw PKCS11Error(function, .functionNotSupported) }
        let start = output.count
        let capacity = input.byteCount + Self.gcmTagLength
        output.append(contentsOf: repeatElement(0, count: capacity))
        var length = CK_ULONG(capacity)
        let returned = input.withUnsafeBytes { inputBytes in
            output.withUnsafeMutableBufferPointer { buffer in
                module.observing(function) {
                    entry(handle, inputBytes.mutableBytes, UInt(inputBytes.count), buffer.baseAddress.map { $0 + start }, &length)
                }
            }
        }
        guard returned == CKR_OK, length == CK_ULONG(clamping: expected) else {
            for index in start..<output.count { output[index] = 0 }
            output.removeSubrange(start...)
            guard returned == CKR_OK else { throw PKCS11Error(function, ReturnValue(rawValue: returned)) }
            throw PKCS11Error(
                code: .wrongOutput, message: "\(function.rawValue) gave \(length) bytes where AES-GCM has \(expected); have the token examined")
        }
        output.removeSubrange((start + expected)...)
    }
}

extension UnsafeRawBufferPointer {
    /// The standard's prototypes take their inputs as mutable pointers although no module changes them; an empty input
    /// gets a pointer all the same, since some modules refuse NULL.
    fileprivate var mutableBytes: UnsafeMutablePointer<UInt8>? {
        let address = baseAddress ?? UnsafeRawPointer(bitPattern: 16)
        return address.map { UnsafeMutableRawPointer(mutating: $0).assumingMemoryBound(to: UInt8.self) }
    }
}
