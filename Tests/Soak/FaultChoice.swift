import CustodyProtocol
import PKCS11
import TestSupport

/// A fault of the module that the model can hold answers against.
///
/// Left out is what makes a token lie undetectably: other bytes from C_Decrypt, C_Encrypt and the rest, codes of C_Decrypt
/// and C_Encrypt that say for sure that the data is bad, and sessions that were opened though C_OpenSession says no.
struct FaultChoice {
    let kind: String
    let fault: InjectedFault
    let function: Function?
    /// nil until it is cleared.
    var times: Int?
    /// For how long it holds at the most.
    let window: Duration
    /// What callers may be told beside that the token is not available.
    let tolerated: Set<ErrorCode>
    /// Whether sessions are lost as well, so that the daemon connects anew and meets the fault on its way.
    let breaksConnection: Bool

    var description: String {
        "\(fault) on \(function?.rawValue ?? "any function"), \(times.map { "\($0) times" } ?? "for \(window.inMilliseconds) ms")"
            + (breaksConnection ? ", and the connection breaks" : "")
    }

    static let kinds = ["returns a code", "answer lost", "delay", "hang", "sessions lost", "login lost", "short output", "long output"]

    /// What any function may return that says nothing of the data.
    private static let codes: [ReturnValue] = [
        .generalError, .functionFailed, .deviceError, .deviceMemory, .deviceRemoved, .hostMemory, .sessionHandleInvalid, .sessionClosed,
        .sessionCount, .tokenNotPresent, .tokenNotRecognized, .userNotLoggedIn, .cryptokiNotInitialized, .operationActive,
        .operationNotInitialized, .functionCanceled, .argumentsBad, .bufferTooSmall, .keyHandleInvalid, .objectHandleInvalid,
        .functionNotSupported, ReturnValue(rawValue: 0x8000_0001),
    ]

    /// What C_Login may return that says nothing of the PIN: any other code locks the daemon.
    private static let codesOfLogin: [ReturnValue] = [
        .generalError, .deviceError, .deviceMemory, .deviceRemoved, .hostMemory, .functionCanceled, .tokenNotPresent,
        .tokenNotRecognized, .sessionHandleInvalid, .sessionClosed, .cryptokiNotInitialized, .operationActive,
    ]

    /// Functions that give something that can be too short or too long.
    private static let giving: [Function] = [.encrypt, .decrypt, .findObjects, .getAttributeValue, .getSlotList, .sign]

    /// - Parameter called: The functions that the daemon calls.
    init(_ kind: String, called: [Function], _ random: inout RandomSource) {
        self.kind = kind
        var function: Function? = random.element(called)
        var window = random.duration(100...2_000)
        let fault: InjectedFault
        switch kind {
        case "returns a code":
            fault = .returns(Self.code(function, &random))
        case "answer lost":
            if function == .openSession { function = .generateRandom }
            fault = .returnsAfter(Self.code(function, &random))
        case "delay":
            fault = .delays(milliseconds: Int.random(in: 10...300, using: &random))
        case "hang":
            if random.oneIn(12) { window = random.duration(5_000...8_000) }
            let then = random.oneIn(3) && function != .openSession ? Self.code(function, &random) : nil
            fault = .hangs(then: then)
        case "sessions lost":
            if random.oneIn(3) { function = nil }
            fault = .losesSessions(then: random.oneIn(2) ? nil : .sessionHandleInvalid)
        case "login lost":
            if random.oneIn(3) { function = nil }
            fault = .losesLogin()
        case "short output":
            function = random.element(Self.giving)
            fault = .shortOutput(by: Int.random(in: 1...20, using: &random))
        default:
            function = random.element(Self.giving.filter { $0 != .getSlotList && $0 != .findObjects })
            fault = .longOutput(by: Int.random(in: 1...20, using: &random))
        }
        self.fault = fault
        self.function = function
        self.window = window
        switch Int.random(in: 0..<3, using: &random) {
        case 0: times = 1
        case 1: times = Int.random(in: 2...6, using: &random)
        default: times = nil
        }
        switch fault {
        case .losesSessions, .losesLogin: times = times ?? 3
        default: break
        }
        breaksConnection = random.oneIn(3)
        tolerated = Self.tolerated(fault, function)
    }

    private static func code(_ function: Function?, _ random: inout RandomSource) -> ReturnValue {
        random.element(function == .login ? codesOfLogin : codes)
    }

    /// A token that denies that a key is there, or shows it otherwise than it is, is believed.
    private static func tolerated(_ fault: InjectedFault, _ function: Function?) -> Set<ErrorCode> {
        switch fault {
        case .returns(let code), .returnsAfter(let code), .hangs(let code?):
            return [.keyHandleInvalid, .objectHandleInvalid].contains(code) ? [.keyNotUsable, .keyNotFound] : []
        case .shortOutput where function == .findObjects || function == .getAttributeValue,
            .longOutput where function == .getAttributeValue:
            return [.keyNotUsable, .keyNotFound, .keyRefused]
        default: return []
        }
    }
}
