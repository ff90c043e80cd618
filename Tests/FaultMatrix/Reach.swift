import PKCS11

/// How a function comes to be called by a daemon that runs.
enum Reach {
    /// By requests, or by the looks at the token, which come all the time.
    case always
    /// When the connection to the token is made anew.
    case reconnecting
    /// When a worker's session is dropped for another one.
    case changingSession
    /// With a checkpoint of the audit log.
    case checkpoint
    /// With the first checkpoint of a new log.
    case newLog

    init(_ function: Function) {
        self =
            switch function {
            case .initialize, .finalize, .getSlotList, .login, .generateKey, .wrapKey, .destroyObject, .copyObject,
                .getMechanismList, .getMechanismInfo, .getInfo:
                .reconnecting
            case .createObject: .newLog
            case .openSession, .closeSession: .changingSession
            case .signInit, .sign, .setAttributeValue: .checkpoint
            default: .always
            }
    }
}

/// The functions that custodyd calls, and those that only custodyctl does.
///
/// A run of the matrix counts what a daemon calls in all its life and fails if that is another set.
public enum CalledFunctions {
    public static let byDaemon: [Function] = [
        .initialize, .finalize, .getSlotList, .getTokenInfo, .openSession, .closeSession, .getSessionInfo, .login,
        .findObjectsInit, .findObjects, .findObjectsFinal, .getAttributeValue, .generateKey, .wrapKey, .destroyObject, .encryptInit, .encrypt,
        .decryptInit, .decrypt, .generateRandom, .signInit, .sign, .setAttributeValue, .createObject, .copyObject,
        .getMechanismList, .getMechanismInfo, .getInfo,
    ]

    /// Those that custodyctl is run with; what else it calls, it calls as the daemon does.
    public static let byTool: [Function] = [
        .initialize, .finalize, .getInfo, .getSlotList, .getSlotInfo, .getTokenInfo, .getMechanismList, .initToken, .initPIN,
        .setPIN, .openSession, .closeSession, .getSessionInfo, .login, .createObject, .destroyObject, .getAttributeValue,
        .setAttributeValue, .findObjectsInit, .findObjects, .findObjectsFinal, .generateKey, .signInit, .sign,
    ]
}
