import CPKCS11
import SecureMemory

/// Who logs in (CK_USER_TYPE).
public enum UserType: Sendable {
    case user, securityOfficer
}

/// An open session (PKCS#11 v2.40 section 5.6), owned by one thread at a time and closed when its owner lets it go.
public struct Session: ~Copyable, Sendable {
    let module: Module
    public let slot: SlotID
    let handle: CK_SESSION_HANDLE

    init(module: Module, slot: SlotID, handle: CK_SESSION_HANDLE) {
        self.module = module
        self.slot = slot
        self.handle = handle
    }

    deinit { module.close(handle) }

    /// C_Login. Login is application-wide: it counts for all sessions of this process with the token.
    public func login(_ user: UserType, pin: SecretBytes) throws(PKCS11Error) {
        let type = user == .user ? CKU_USER : CKU_SO
        try module.call(.login, module.functions.pointee.C_Login) { entry in
            pin.withMutablePointer { bytes, length in entry(handle, type, bytes, length) }
        }
    }

    /// C_Logout, of all sessions of this process with the token.
    public func logout() throws(PKCS11Error) {
        try module.call(.logout, module.functions.pointee.C_Logout) { $0(handle) }
    }

    /// Whether the session lives and the user is logged in.
    public func isUserLoggedIn() throws(PKCS11Error) -> Bool {
        var info = CK_SESSION_INFO()
        try module.call(.getSessionInfo, module.functions.pointee.C_GetSessionInfo) { $0(handle, &info) }
        return info.state == CKS_RO_USER_FUNCTIONS || info.state == CKS_RW_USER_FUNCTIONS
    }

    /// C_GenerateRandom.
    public func random(count: Int) throws(PKCS11Error) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        guard count > 0 else { return bytes }
        try module.call(.generateRandom, module.functions.pointee.C_GenerateRandom) { $0(handle, &bytes, CK_ULONG(count)) }
        return bytes
    }
}
