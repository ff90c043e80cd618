import CPKCS11
import SecureMemory

/// Making a token ready for use (PKCS#11 v2.40 sections 5.5 and 5.6).
extension Module {
    /// C_InitToken: erases the token in the slot and gives it a label and a security officer's PIN.
    public func initToken(_ slot: SlotID, label: String, soPIN: SecretBytes) throws(PKCS11Error) {
        guard label.utf8.count <= 32, !label.isEmpty else {
            throw PKCS11Error(code: .invalidURI, message: "a token's label has 1 to 32 bytes, this one \(label.utf8.count)")
        }
        var name = Array(label.utf8) + [UInt8](repeating: 0x20, count: 32 - label.utf8.count)
        try call(.initToken, functions.pointee.C_InitToken) { entry in
            soPIN.withMutablePointer { pin, length in entry(slot.rawValue, pin, length, &name) }
        }
    }
}

extension Session {
    /// C_InitPIN: sets the user's PIN; the security officer must be logged in.
    public func initPIN(_ pin: SecretBytes) throws(PKCS11Error) {
        try module.call(.initPIN, module.functions.pointee.C_InitPIN) { entry in
            pin.withMutablePointer { bytes, length in entry(handle, bytes, length) }
        }
    }

    /// C_SetPIN: changes the PIN of whoever is logged in, or the user's if nobody is.
    public func setPIN(old: SecretBytes, new: SecretBytes) throws(PKCS11Error) {
        try module.call(.setPIN, module.functions.pointee.C_SetPIN) { entry in
            old.withMutablePointer { oldBytes, oldLength in
                new.withMutablePointer { newBytes, newLength in
                    entry(handle, oldBytes, oldLength, newBytes, newLength)
                }
            }
        }
    }
}

extension SecretBytes {
    /// The standard's prototypes take PINs as mutable pointers although no module changes them.
    func withMutablePointer<R>(_ body: (UnsafeMutablePointer<UInt8>?, CK_ULONG) -> R) -> R {
        withBytes { span in
            span.withUnsafeBytes { raw in
                let pointer = raw.baseAddress.map { UnsafeMutableRawPointer(mutating: $0).assumingMemoryBound(to: UInt8.self) }
                return body(pointer, CK_ULONG(raw.count))
            }
        }
    }
}
