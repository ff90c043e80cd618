import FaultControl
import PKCS11

/// What the fault module does to a call.
public enum InjectedFault: Sendable, Hashable {
    /// Returns the value; nothing is done.
    case returns(ReturnValue)
    /// Does what was asked, then returns the value all the same: the answer is lost.
    case returnsAfter(ReturnValue)
    /// Waits until the rule is cleared; then returns the value, or goes on if there is none.
    case hangs(then: ReturnValue? = nil)
    /// Waits for so long, then goes on.
    case delays(milliseconds: Int)
    /// Ends the process by this signal.
    case crashes(signal: Int32)
    /// Closes all the process' sessions; then returns the value, or goes on.
    case losesSessions(then: ReturnValue? = nil)
    /// Logs the process out; then likewise.
    case losesLogin(then: ReturnValue? = nil)
    /// Takes so many bytes or elements off the end of what the token gave.
    case shortOutput(by: Int)
    /// Changes one bit of what it gave: of this byte, counted round. A handle becomes this number.
    case wrongOutput(at: Int)
    /// Says that what it gave is so much longer than the caller's buffer.
    case longOutput(by: Int)
    /// Hands out what the token refuses: C_WrapKey with this mechanism (nil: any) and C_GetAttributeValue of CKA_VALUE give bytes,
    /// C_CopyObject an extractable session key.
    case handsOut(with: Mechanism? = nil)
    /// Adds flags to what C_GetTokenInfo gives.
    case tokenFlags(TokenFlags)

    var encoded: (fault_action, UInt64) {
        switch self {
        case .returns(let value): (FAULT_RETURN, UInt64(value.rawValue))
        case .returnsAfter(let value): (FAULT_RETURN_AFTER, UInt64(value.rawValue))
        case .hangs(let value): (FAULT_HANG, UInt64(value?.rawValue ?? 0))
        case .delays(let milliseconds): (FAULT_DELAY, UInt64(milliseconds))
        case .crashes(let signal): (FAULT_CRASH, UInt64(signal))
        case .losesSessions(let value): (FAULT_LOSE_SESSIONS, UInt64(value?.rawValue ?? 0))
        case .losesLogin(let value): (FAULT_LOSE_LOGIN, UInt64(value?.rawValue ?? 0))
        case .shortOutput(let count): (FAULT_SHORT_OUTPUT, UInt64(count))
        case .wrongOutput(let place): (FAULT_WRONG_OUTPUT, UInt64(place))
        case .longOutput(let count): (FAULT_LONG_OUTPUT, UInt64(count))
        case .handsOut(let mechanism): (FAULT_HAND_OUT, mechanism.map { UInt64($0.rawValue) } ?? .max)
        case .tokenFlags(let flags): (FAULT_TOKEN_FLAGS, UInt64(flags.rawValue))
        }
    }
}

/// Flags of a token (CK_TOKEN_INFO) that tell of its PIN.
public struct TokenFlags: OptionSet, Sendable, Hashable {
    public let rawValue: UInt
    public init(rawValue: UInt) { self.rawValue = rawValue }

    public static let userPINCountLow = TokenFlags(rawValue: 0x10000)
    public static let userPINFinalTry = TokenFlags(rawValue: 0x20000)
    public static let userPINLocked = TokenFlags(rawValue: 0x40000)
}
