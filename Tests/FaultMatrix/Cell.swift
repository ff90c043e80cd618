import PKCS11
import TestSupport

/// When in a daemon's life the fault comes.
public enum Phase: String, Sendable, Hashable, CaseIterable {
    /// Before the daemon starts.
    case first
    /// On an idle daemon that has served already.
    case midLife = "mid-life"
    /// While several clients have requests under way.
    case load
    /// Not the daemon: custodyctl meets it.
    case tool = "custodyctl"
}

/// One cell of the matrix: what one function does at one time.
public struct Cell: Sendable, Hashable, CustomStringConvertible {
    /// nil for what concerns the token as a whole.
    public let function: Function?
    public let trouble: Trouble
    public let phase: Phase

    public var description: String { "\(function?.rawValue ?? "token")/\(trouble.name)/\(phase.rawValue)" }
}

/// What goes wrong.
public enum Trouble: Sendable, Hashable {
    /// The function returns this without doing anything.
    case code(ReturnValue)
    /// It does its work, and returns this all the same.
    case lostAnswer(ReturnValue)
    case hang
    /// One call hangs, and goes on hanging while the daemon has to serve without it.
    case hangOnce
    case delay
    case crash(signal: Int32)
    case sessionsLost
    case loginLost
    case shortOutput
    case wrongOutput
    case longOutput
    /// The token is pulled and put back.
    case removal
    /// Another token is put in its place, and then it again.
    case swap

    public var name: String {
        switch self {
        case .code(let value): value.name
        case .lostAnswer(let value): "lost-answer-" + value.name
        case .hang: "hang"
        case .hangOnce: "hang-once"
        case .delay: "delay"
        case .crash(let signal): "crash-\(signal)"
        case .sessionsLost: "sessions-lost"
        case .loginLost: "login-lost"
        case .shortOutput: "short-output"
        case .wrongOutput: "wrong-output"
        case .longOutput: "long-output"
        case .removal: "removal"
        case .swap: "swap"
        }
    }

    /// nil if it is not about a function.
    var fault: InjectedFault? {
        switch self {
        case .code(let value): .returns(value)
        case .lostAnswer(let value): .returnsAfter(value)
        case .hang, .hangOnce: .hangs()
        case .delay: .delays(milliseconds: 20)
        case .crash(let signal): .crashes(signal: signal)
        case .sessionsLost: .losesSessions()
        case .loginLost: .losesLogin()
        case .shortOutput: .shortOutput(by: 1)
        case .wrongOutput: .wrongOutput(at: 0)
        case .longOutput: .longOutput(by: 1)
        case .removal, .swap: nil
        }
    }

    /// Whether it happens once; the others last until the harness ends them.
    var isOnce: Bool {
        switch self {
        case .crash, .sessionsLost, .loginLost, .hangOnce: true
        default: false
        }
    }
}
