import PKCS11
import ToolSupport

/// A token as the commands show it.
struct TokenView: Encodable {
    let slot: UInt
    let label: String
    let manufacturer: String
    let model: String
    let serial: String
    /// Selects this token, wherever its slot moves.
    let uri: String
    let initialized: Bool
    let loginRequired: Bool
    let userPinInitialized: Bool
    let userPinCountLow: Bool
    let userPinFinalTry: Bool
    let userPinLocked: Bool
    let soPinFinalTry: Bool
    let soPinLocked: Bool
    let writeProtected: Bool
    let minimumPinLength: Int
    let maximumPinLength: Int
    /// Absent if the token has no limit or does not tell.
    let maximumSessions: Int?

    init(_ token: TokenInfo) {
        slot = token.slot.rawValue
        label = token.label
        manufacturer = token.manufacturer
        model = token.model
        serial = token.serial
        uri = TokenURI(token).string
        initialized = token.isInitialized
        loginRequired = token.isLoginRequired
        userPinInitialized = token.isUserPINInitialized
        userPinCountLow = token.isUserPINCountLow
        userPinFinalTry = token.isUserPINFinalTry
        userPinLocked = token.isUserPINLocked
        soPinFinalTry = token.isSOPINFinalTry
        soPinLocked = token.isSOPINLocked
        writeProtected = token.isWriteProtected
        minimumPinLength = token.minimumPINLength
        maximumPinLength = token.maximumPINLength
        maximumSessions = token.maximumSessions
    }

    /// The state in a few words.
    var summary: String {
        if !initialized { return "uninitialised" }
        if !userPinInitialized { return "no user PIN" }
        if userPinLocked || userPinFinalTry { return "user PIN \(userPinLocked ? "locked" : "has one try left")" }
        return "ready"
    }

    var userPIN: String {
        if !userPinInitialized { return "not set" }
        if userPinLocked { return "locked" }
        if userPinFinalTry { return "one try left" }
        return userPinCountLow ? "set; a wrong one was entered since the last right one" : "set"
    }

    private var securityOfficerPIN: String { soPinLocked ? "locked" : soPinFinalTry ? "one try left" : "set" }

    func show() {
        var table = Table()
        table.add("Label", label)
        table.add("URI", uri)
        table.add("Slot", "\(slot)")
        table.add("Manufacturer", manufacturer)
        table.add("Model", model)
        table.add("Serial", serial)
        table.add("State", summary)
        table.add("User PIN", userPIN)
        table.add("Security officer", securityOfficerPIN)
        table.add("PIN length", "\(minimumPinLength) to \(maximumPinLength)")
        table.add("Login", loginRequired ? "required" : "not required")
        table.add("Writable", writeProtected ? "no" : "yes")
        table.add("Sessions", maximumSessions.map { "at most \($0)" } ?? "no limit told")
        table.show()
    }
}
