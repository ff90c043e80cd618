import CustodyProtocol
import PKCS11

/// What a caller may be told while the trouble lasts, and what has to happen afterwards.
///
/// Written from the standard's words on each return value and from what callers need to know, not from the daemon's own table:
/// where the two disagree one of them is wrong.
struct Expectation {
    /// What the standard says that a return value is about.
    enum Subject {
        /// The bytes of this request.
        case data
        /// Bad data or a broken token.
        case dataOrDevice
        /// The object: gone, or forbids the use.
        case object
        /// The token can't do this, or not with these parameters.
        case unsupported
        /// What the caller of PKCS#11 did: only a fault of Custody's own explains it.
        case usage
        /// This session, or what the token has room for at this moment.
        case session
        /// Nobody is logged in any more.
        case login
        /// The PIN: an operator has to act.
        case pin
        /// The token, the slot or the module.
        case connection
        /// A vendor's own code may mean anything.
        case unknown
    }

    /// Errors that an operation may be answered with; success always may be.
    var allowed: Set<ErrorCode> = [.tokenUnavailable]
    /// Those that only what opens something may be answered with.
    var allowedForOpening: Set<ErrorCode> = []
    /// Whether a caller must be told when to try again.
    var isPassing = true
    /// An operator has to act: no login is tried before.
    var locks = false
    /// Whether it locks is left open: the standard lets the code mean a PIN or not.
    var mayLock = false
    /// Sessions that no longer can be closed: the module said that they were not opened, or would not close them.
    var mayLeakSessions = false
    /// Whether what was wrapped while it lasted may turn out altered: the token said that all was well.
    var mayLoseBlobs = false

    static func subject(of value: ReturnValue, from function: Function) -> Subject {
        switch value.name {
        case "CKR_PIN_INCORRECT", "CKR_PIN_INVALID", "CKR_PIN_LEN_RANGE", "CKR_PIN_EXPIRED", "CKR_PIN_LOCKED": .pin
        case "CKR_DATA_INVALID", "CKR_DATA_LEN_RANGE", "CKR_ENCRYPTED_DATA_INVALID", "CKR_ENCRYPTED_DATA_LEN_RANGE": .data
        case "CKR_GENERAL_ERROR", "CKR_FUNCTION_FAILED", "CKR_DEVICE_ERROR": function == .decrypt ? .dataOrDevice : .connection
        case "CKR_OBJECT_HANDLE_INVALID", "CKR_KEY_HANDLE_INVALID", "CKR_KEY_FUNCTION_NOT_PERMITTED",
            "CKR_KEY_TYPE_INCONSISTENT", "CKR_ATTRIBUTE_SENSITIVE", "CKR_ACTION_PROHIBITED", "CKR_WRAPPING_KEY_HANDLE_INVALID":
            .object
        case "CKR_MECHANISM_INVALID", "CKR_MECHANISM_PARAM_INVALID", "CKR_FUNCTION_NOT_SUPPORTED", "CKR_KEY_SIZE_RANGE",
            "CKR_RANDOM_NO_RNG", "CKR_TEMPLATE_INCOMPLETE", "CKR_TEMPLATE_INCONSISTENT", "CKR_ATTRIBUTE_READ_ONLY",
            "CKR_ATTRIBUTE_TYPE_INVALID", "CKR_ATTRIBUTE_VALUE_INVALID", "CKR_CURVE_NOT_SUPPORTED", "CKR_DOMAIN_PARAMS_INVALID",
            "CKR_TOKEN_WRITE_PROTECTED", "CKR_SESSION_READ_ONLY", "CKR_KEY_NOT_WRAPPABLE", "CKR_KEY_UNEXTRACTABLE",
            "CKR_WRAPPING_KEY_SIZE_RANGE", "CKR_WRAPPING_KEY_TYPE_INCONSISTENT", "CKR_FUNCTION_REJECTED":
            .unsupported
        case "CKR_ARGUMENTS_BAD", "CKR_BUFFER_TOO_SMALL", "CKR_OPERATION_ACTIVE", "CKR_OPERATION_NOT_INITIALIZED": .usage
        case "CKR_SESSION_HANDLE_INVALID", "CKR_SESSION_CLOSED", "CKR_SESSION_COUNT", "CKR_HOST_MEMORY", "CKR_DEVICE_MEMORY",
            "CKR_FUNCTION_CANCELED":
            .session
        case "CKR_USER_NOT_LOGGED_IN": .login
        default: value.name.hasPrefix("CKR_0x") ? .unknown : .connection
        }
    }

    init(_ cell: Cell) {
        guard let function = cell.function else { return }
        switch cell.trouble {
        case .code(let value):
            read(Self.subject(of: value, from: function), value, function)
            // Who is told that nothing is initialised closes nothing.
            mayLeakSessions = function == .closeSession || function == .finalize && value == .cryptokiNotInitialized
        case .lostAnswer(let value):
            read(Self.subject(of: value, from: function), value, function)
            mayLeakSessions = function == .openSession
        case .hang, .hangOnce: allowed = [.tokenUnavailable, .deadlineExceeded, .overloaded]
        case .delay: allowed = []
        case .crash, .sessionsLost, .loginLost, .removal, .swap: break
        case .shortOutput, .wrongOutput, .longOutput:
            allowed = [.tokenUnavailable, .internalError]
            // What the token says of its keys is what Custody believes of them.
            if Self.looks.contains(function) { allowed.formUnion([.keyRefused, .keyNotFound, .keyNotUsable]) }
            if function == .decrypt { allowedForOpening = [.decryptionFailed] }
            isPassing = false
            mayLeakSessions = function == .openSession
            mayLoseBlobs = function == .encrypt && cell.trouble == .wrongOutput
            if mayLoseBlobs { allowedForOpening = [.decryptionFailed] }
        }
    }

    private static let looks: Set<Function> = [
        .getAttributeValue, .findObjects, .generateKey, .wrapKey, .getTokenInfo, .getSlotList,
    ]
    private static let vague: Set<String> = [
        "CKR_GENERAL_ERROR", "CKR_FUNCTION_FAILED", "CKR_HOST_MEMORY", "CKR_DEVICE_MEMORY", "CKR_FUNCTION_CANCELED",
    ]
    private static let requests: Set<Function> = [.encryptInit, .encrypt, .decryptInit, .decrypt, .generateRandom]

    private mutating func read(_ subject: Subject, _ value: ReturnValue, _ function: Function) {
        if function == .login {
            // Whoever goes on after an answer that may mean the PIN locks the token; whoever stops after one that can't
            // keeps a daemon from healing. In between stands what the standard leaves to the token.
            locks = subject == .pin || subject == .unknown
            mayLock = subject != .session && subject != .login && value != .deviceError && value != .deviceRemoved
                && value != .cryptokiNotInitialized && value != .userAlreadyLoggedIn && value != .tokenNotPresent
            if locks || mayLock { allowed.insert(.tokenLocked) }
            return
        }
        if subject == .pin { allowed.insert(.tokenLocked) }
        if Self.requests.contains(function) {
            switch subject {
            case .data where function == .decrypt: allowedForOpening = [.decryptionFailed]
            // Nothing that this request can do about it is known: its length was looked at before.
            case .data: allowed.formUnion([.internalError, .invalidRequest, .payloadTooLarge])
            case .dataOrDevice, .unknown: if function == .decrypt { allowedForOpening = [.decryptionFailed] }
            case .object: allowed.formUnion([.keyNotUsable, .keyNotFound])
            case .unsupported: allowed.formUnion([.internalError, .keyNotUsable])
            case .usage: allowed.insert(.internalError)
            case .session, .login, .pin, .connection: break
            }
            isPassing = [.session, .login, .connection, .dataOrDevice].contains(subject)
        } else if Self.looks.contains(function), function != .getTokenInfo, function != .getSlotList {
            switch subject {
            // The proof can't be made, or a key's attributes can't be read: it is not used.
            case .object, .unsupported, .usage, .unknown, .data: allowed.formUnion([.keyRefused, .keyNotFound, .keyNotUsable])
            case .session, .login, .pin, .connection, .dataOrDevice: break
            }
            // Some tokens say this of a mechanism that they don't know: no proof then, until the next look.
            if [.wrapKey, .generateKey].contains(function), Self.vague.contains(value.name) { allowed.insert(.keyRefused) }
            isPassing = [.session, .login, .connection, .dataOrDevice].contains(subject)
        } else {
            isPassing = subject != .pin
        }
    }
}
