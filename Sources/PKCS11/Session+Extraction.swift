import CPKCS11
import SecureMemory

/// What somebody tries who wants a key out of the token; to learn whether the token refuses.
extension Session {
    /// What C_WrapKey is given with a mechanism. Values do not matter, since nothing is ever unwrapped.
    public enum WrapParameters: Sendable, Hashable {
        case none
        /// So many bytes.
        case initializationVector(Int)
        /// CK_AES_CTR_PARAMS.
        case counter
        /// CK_GCM_PARAMS.
        case gcm
        /// CK_RSA_PKCS_OAEP_PARAMS with MGF1 over the same hash.
        case oaepSHA1, oaepSHA256
        /// CK_RSA_AES_KEY_WRAP_PARAMS with an AES-256 key, and OAEP over the hash.
        case rsaAESSHA1, rsaAESSHA256
    }

    /// C_WrapKey, to learn whether the token hands a key out. What it gives is zeroed at once.
    ///
    /// - Returns: How many bytes it gave.
    /// - Throws: ``PKCS11Error``; `CKR_KEY_UNEXTRACTABLE` is the refusal that a root key must meet with.
    @discardableResult
    public func wrapKey(
        _ key: ObjectHandle, under wrappingKey: ObjectHandle, _ mechanism: Mechanism, _ parameters: WrapParameters = .none
    ) throws(PKCS11Error) -> Int {
        // Room for what the largest RSA key gives.
        var output = [UInt8](repeating: 0, count: 4_096)
        defer { output.zeroize() }
        var length = CK_ULONG(output.count)
        let returned = parameters.withBytes { bytes in
            var mechanism = CK_MECHANISM(
                mechanism: mechanism.rawValue, pParameter: bytes.isEmpty ? nil : bytes.baseAddress, ulParameterLen: CK_ULONG(bytes.count))
            guard let entry = module.functions.pointee.C_WrapKey else { return CKR_FUNCTION_NOT_SUPPORTED }
            return module.observing(.wrapKey) { entry(handle, &mechanism, wrappingKey.rawValue, key.rawValue, &output, &length) }
        }
        guard returned == CKR_OK else { throw PKCS11Error(.wrapKey, ReturnValue(rawValue: returned)) }
        return Int(clamping: length)
    }

    /// C_GetAttributeValue of CKA_VALUE. What it gives is zeroed at once.
    ///
    /// - Returns: Whether the token showed bytes that may be the key's value: some show an empty one, or zeros alone.
    /// - Throws: ``PKCS11Error``; `CKR_ATTRIBUTE_SENSITIVE` is the refusal that is due.
    public func showsValue(of key: ObjectHandle) throws(PKCS11Error) -> Bool {
        var value = [UInt8](repeating: 0, count: 1_024)
        defer { value.zeroize() }
        let (returned, length) = value.withUnsafeMutableBytes { bytes in
            var attribute = CK_ATTRIBUTE(type: CKA_VALUE, pValue: bytes.baseAddress, ulValueLen: CK_ULONG(bytes.count))
            guard let entry = module.functions.pointee.C_GetAttributeValue else { return (CKR_FUNCTION_NOT_SUPPORTED, CK_ULONG(0)) }
            return (module.observing(.getAttributeValue) { entry(handle, key.rawValue, &attribute, 1) }, attribute.ulValueLen)
        }
        guard returned == CKR_OK else { throw PKCS11Error(.getAttributeValue, ReturnValue(rawValue: returned)) }
        return length > 0 && value.contains { $0 != 0 }
    }

    /// C_CopyObject.
    ///
    /// Some tokens give the same object back under its own handle: compare before the copy is destroyed.
    public func copyObject(_ object: ObjectHandle, _ template: [Attribute]) throws(PKCS11Error) -> ObjectHandle {
        var copy: CK_OBJECT_HANDLE = 0
        try withTemplate(template) { (pointer, count) throws(PKCS11Error) in
            try module.call(.copyObject, module.functions.pointee.C_CopyObject) { $0(handle, object.rawValue, pointer, count, &copy) }
        }
        return ObjectHandle(rawValue: copy)
    }

    /// C_GenerateKeyPair.
    public func generateKeyPair(
        _ mechanism: Mechanism, public publicTemplate: [Attribute], private privateTemplate: [Attribute]
    ) throws(PKCS11Error) -> (publicKey: ObjectHandle, privateKey: ObjectHandle) {
        var (publicKey, privateKey) = (CK_OBJECT_HANDLE(0), CK_OBJECT_HANDLE(0))
        var parameters = CK_MECHANISM(mechanism: mechanism.rawValue, pParameter: nil, ulParameterLen: 0)
        try withTemplate(publicTemplate) { (publicPointer, publicCount) throws(PKCS11Error) in
            try withTemplate(privateTemplate) { (privatePointer, privateCount) throws(PKCS11Error) in
                try module.call(.generateKeyPair, module.functions.pointee.C_GenerateKeyPair) {
                    $0(handle, &parameters, publicPointer, publicCount, privatePointer, privateCount, &publicKey, &privateKey)
                }
            }
        }
        return (ObjectHandle(rawValue: publicKey), ObjectHandle(rawValue: privateKey))
    }

    /// The mechanisms that the token lists, each with whether it says that it wraps keys. One whose C_GetMechanismInfo fails
    /// counts as one that does not say so.
    public func listedMechanisms() throws(PKCS11Error) -> [Mechanism: Bool] {
        var listed: [Mechanism: Bool] = [:]
        for mechanism in try module.mechanisms(slot) {
            do throws(PKCS11Error) {
                listed[mechanism] = try module.mechanismInfo(slot, mechanism).canWrap
            } catch where error.returnValue == .mechanismInvalid || error.returnValue == .functionNotSupported {
                listed[mechanism] = false
            }
        }
        return listed
    }

    /// Whether the module passes calls on to another module, and leaves out what it does not know.
    public func isRelayed() throws(PKCS11Error) -> Bool { try module.info().isRelay }
}

extension Session.WrapParameters {
    /// Lends them as a mechanism's parameter.
    fileprivate func withBytes<R>(_ body: (UnsafeMutableRawBufferPointer) -> R) -> R {
        func oaep(_ hash: CK_MECHANISM_TYPE, _ mask: UInt) -> CK_RSA_PKCS_OAEP_PARAMS {
            CK_RSA_PKCS_OAEP_PARAMS(hashAlg: hash, mgf: mask, source: CKZ_DATA_SPECIFIED, pSourceData: nil, ulSourceDataLen: 0)
        }
        func lend<T>(_ value: T) -> R {
            var value = value
            return withUnsafeMutableBytes(of: &value, body)
        }
        /// CK_RSA_AES_KEY_WRAP_PARAMS: the AES key's bits, and a pointer to OAEP's parameters.
        func lendHybrid(_ value: CK_RSA_PKCS_OAEP_PARAMS) -> R {
            var value = value
            return withUnsafeMutablePointer(to: &value) { pointer in lend((CK_ULONG(256), pointer)) }
        }
        switch self {
        case .none: return body(UnsafeMutableRawBufferPointer(start: nil, count: 0))
        case .initializationVector(let count):
            var bytes = [UInt8](repeating: 0, count: count)
            return bytes.withUnsafeMutableBytes(body)
        case .counter:
            var parameters = CK_AES_CTR_PARAMS()
            parameters.ulCounterBits = 128
            return lend(parameters)
        case .gcm:
            var nonce = [UInt8](repeating: 0, count: Session.gcmNonceLength)
            return nonce.withUnsafeMutableBufferPointer { nonce in
                var parameters = CK_GCM_PARAMS()
                parameters.pIv = nonce.baseAddress
                parameters.ulIvLen = UInt(nonce.count)
                parameters.ulIvBits = UInt(nonce.count * 8)
                parameters.ulTagBits = UInt(Session.gcmTagLength * 8)
                return lend(parameters)
            }
        case .oaepSHA1: return lend(oaep(CKM_SHA_1, CKG_MGF1_SHA1))
        case .oaepSHA256: return lend(oaep(CKM_SHA256, CKG_MGF1_SHA256))
        case .rsaAESSHA1: return lendHybrid(oaep(CKM_SHA_1, CKG_MGF1_SHA1))
        case .rsaAESSHA256: return lendHybrid(oaep(CKM_SHA256, CKG_MGF1_SHA256))
        }
    }
}
