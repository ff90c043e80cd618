import PKCS11

/// What a PKCS#11 error means for the one who met it: the one table of Custody.
///
/// Codes alone do not tell: they are read per function, and where a code says both "bad data" and "broken device" the
/// table says `ambiguous` and a canary decides.
enum Fault: Sendable, Equatable {
    /// The caller's data; the session is as good as before.
    case data
    /// Bad data or a broken token: a wrong GCM tag is CKR_GENERAL_ERROR on SoftHSM, CKR_FUNCTION_FAILED on nShield.
    case ambiguous
    /// The handle stands for nothing any more: the object was removed, or handles changed.
    case objectGone
    /// The object's attributes forbid this use: another process disabled the key.
    case objectForbidden
    /// The token cannot do this at all.
    case unsupported
    /// This session is of no use any more; a new one may be.
    case session
    /// The PIN was refused: nothing may be tried again.
    case pin
    /// The login, the token or the whole module is lost: connect anew.
    case connection

    /// What C_Login may return that says nothing of the PIN.
    static let harmlessAtLogin: Set<ReturnValue> = [
        .generalError, .deviceError, .deviceMemory, .deviceRemoved, .hostMemory, .functionCanceled, .tokenNotPresent,
        .tokenNotRecognized, .slotIDInvalid, .sessionHandleInvalid, .sessionClosed, .sessionCount, .operationActive,
        .cryptokiNotInitialized, .userPINNotInitialized, .userAlreadyLoggedIn, .userAnotherAlreadyLoggedIn, .userTypeInvalid,
    ]

    init(_ error: PKCS11Error) {
        guard let function = error.function, let value = error.returnValue else {
            self = .connection
            return
        }
        if function == .login, !Self.harmlessAtLogin.contains(value) {
            // A token may say in its own words that the PIN is wrong: whatever is not known to be something else counts.
            self = .pin
            return
        }
        switch value {
        case .pinIncorrect, .pinLocked, .pinExpired, .pinInvalid, .pinLengthRange:
            self = .pin
        case .encryptedDataInvalid, .encryptedDataLengthRange, .dataInvalid, .dataLengthRange:
            // From any other function they make no sense.
            self = function == .encrypt || function == .decrypt ? .data : .connection
        case .generalError, .functionFailed, .deviceError:
            self = function == .decrypt ? .ambiguous : .connection
        case .objectHandleInvalid, .keyHandleInvalid:
            self = .objectGone
        case .keyFunctionNotPermitted, .keyTypeInconsistent:
            self = .objectForbidden
        case .mechanismInvalid, .mechanismParameterInvalid, .functionNotSupported, .keySizeRange, .randomNoRNG:
            self = .unsupported
        case .sessionHandleInvalid, .sessionClosed, .operationActive, .operationNotInitialized, .functionCanceled,
            .bufferTooSmall, .argumentsBad, .hostMemory, .deviceMemory, .sessionCount:
            self = .session
        default:
            // Token removed, being initialised (no user PIN yet), not logged in, module not initialised, a vendor's own code.
            self = .connection
        }
    }
}
