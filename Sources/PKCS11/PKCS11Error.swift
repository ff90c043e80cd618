/// Why a call into the PKCS#11 module, or the search for a token or object, failed.
public struct PKCS11Error: Error, Sendable, CustomStringConvertible {
    /// What kind of failure it is.
    public enum Code: Sendable, Hashable {
        /// The module's function returned something else than CKR_OK; see ``function`` and ``returnValue``.
        case callFailed
        /// The module file could not be loaded.
        case moduleNotLoaded
        /// The PKCS#11 URI does not follow RFC 7512, or asks for what Custody does not support.
        case invalidURI
        /// No token matches the URI.
        case tokenNotFound
        /// More than one token matches the URI.
        case tokenAmbiguous
        /// The module's function returned CKR_OK with an output that can't be right.
        case wrongOutput
    }

    public var code: Code
    /// The function that failed, if ``code`` is ``Code/callFailed``.
    public var function: Function?
    /// What it returned.
    public var returnValue: ReturnValue?
    /// What happened and what to do next.
    public var message: String

    public init(code: Code, message: String) {
        self.code = code
        self.message = message
    }

    /// What a function returned.
    public init(_ function: Function, _ returnValue: ReturnValue) {
        self.code = .callFailed
        self.function = function
        self.returnValue = returnValue
        self.message = "\(function.rawValue) returned \(returnValue.name)"
        if let hint = returnValue.hint { self.message += ": \(hint)" }
    }

    public var description: String { message }
}

/// The functions of the standard that Custody calls.
public enum Function: String, Sendable, Hashable, CaseIterable {
    case initialize = "C_Initialize"
    case finalize = "C_Finalize"
    case getInfo = "C_GetInfo"
    case getSlotList = "C_GetSlotList"
    case getSlotInfo = "C_GetSlotInfo"
    case getTokenInfo = "C_GetTokenInfo"
    case getMechanismList = "C_GetMechanismList"
    case getMechanismInfo = "C_GetMechanismInfo"
    case initToken = "C_InitToken"
    case initPIN = "C_InitPIN"
    case setPIN = "C_SetPIN"
    case openSession = "C_OpenSession"
    case closeSession = "C_CloseSession"
    case getSessionInfo = "C_GetSessionInfo"
    case login = "C_Login"
    case logout = "C_Logout"
    case destroyObject = "C_DestroyObject"
    case createObject = "C_CreateObject"
    case copyObject = "C_CopyObject"
    case getAttributeValue = "C_GetAttributeValue"
    case setAttributeValue = "C_SetAttributeValue"
    case findObjectsInit = "C_FindObjectsInit"
    case findObjects = "C_FindObjects"
    case findObjectsFinal = "C_FindObjectsFinal"
    case generateKey = "C_GenerateKey"
    case generateKeyPair = "C_GenerateKeyPair"
    case encryptInit = "C_EncryptInit"
    case encrypt = "C_Encrypt"
    case decryptInit = "C_DecryptInit"
    case decrypt = "C_Decrypt"
    case signInit = "C_SignInit"
    case sign = "C_Sign"
    case wrapKey = "C_WrapKey"
    case generateRandom = "C_GenerateRandom"
}

extension ReturnValue {
    /// What a person does about it, where the name alone does not say.
    var hint: String? {
        switch self {
        case .pinIncorrect: "the PIN is wrong; check the PIN file before trying again, tokens lock after a few wrong PINs"
        case .pinLocked: "the PIN is locked; the security officer sets a new one with `custodyctl token set-pin --so-pin-file`"
        case .pinExpired: "the PIN has expired; set a new one with `custodyctl token set-pin`"
        case .pinLengthRange: "the PIN is too short or too long for this token; `custodyctl token show` prints the limits"
        case .pinInvalid: "the PIN holds characters that this token does not take"
        case .userPINNotInitialized: "the token has no user PIN; initialise it with `custodyctl token init`"
        case .tokenNotPresent, .deviceRemoved: "the token is not in its slot"
        case .tokenNotRecognized: "the slot holds something that the module does not know as a token"
        case .tokenWriteProtected, .sessionReadOnly: "the token cannot be written to"
        case .sessionCount: "the token has no more sessions; lower `sessions` or close other programs that use it"
        case .sessionExists: "a program has a session on this token; stop it first"
        case .userNotLoggedIn: "nobody is logged in to the token"
        case .keyFunctionNotPermitted: "the key's attributes forbid this use"
        case .cryptokiAlreadyInitialized: "the module is in use already in this process"
        default: nil
        }
    }
}
