import CPKCS11

/// A slot's number (CK_SLOT_ID). Numbers move when tokens are added; select by URI, not by number.
public struct SlotID: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt
    public init(rawValue: UInt) { self.rawValue = rawValue }
}

/// What the module says of itself (CK_INFO).
public struct ModuleInfo: Sendable, Hashable {
    public let manufacturer: String
    public let libraryDescription: String
    public let libraryVersion: String
    public let cryptokiVersion: String

    /// p11-kit's client and proxy: they stand before another module, and leave out mechanisms that they don't know.
    public var isRelay: Bool { manufacturer.hasPrefix("PKCS#11 Kit") || libraryDescription.hasPrefix("PKCS#11 Kit") }

    init(_ info: CK_INFO) {
        manufacturer = padded(info.manufacturerID)
        libraryDescription = padded(info.libraryDescription)
        libraryVersion = "\(info.libraryVersion.major).\(info.libraryVersion.minor)"
        cryptokiVersion = "\(info.cryptokiVersion.major).\(info.cryptokiVersion.minor)"
    }
}

/// What the module says of a slot (CK_SLOT_INFO).
public struct SlotInfo: Sendable, Hashable {
    public let id: SlotID
    public let slotDescription: String
    public let manufacturer: String
    public let isTokenPresent: Bool

    init(_ id: SlotID, _ info: CK_SLOT_INFO) {
        self.id = id
        slotDescription = padded(info.slotDescription)
        manufacturer = padded(info.manufacturerID)
        isTokenPresent = info.flags & CKF_TOKEN_PRESENT != 0
    }
}

/// What the module says of a token (CK_TOKEN_INFO).
public struct TokenInfo: Sendable, Hashable {
    public let slot: SlotID
    /// For people: what is no UTF-8 in it has replacement characters, so it names a token to ``isLabelled(_:)`` alone.
    public let label: String
    public let manufacturer: String
    public let model: String
    public let serial: String
    /// Selects the token by what it has in these fields, byte by byte.
    public let uri: TokenURI
    private let labelBytes: [UInt8]
    public let isInitialized: Bool
    public let isLoginRequired: Bool
    public let isUserPINInitialized: Bool
    public let isWriteProtected: Bool
    /// A wrong user PIN was entered since the last right one.
    public let isUserPINCountLow: Bool
    /// One more wrong user PIN locks it.
    public let isUserPINFinalTry: Bool
    public let isUserPINLocked: Bool
    /// A wrong security officer's PIN was entered since the last right one.
    public let isSOPINCountLow: Bool
    public let isSOPINFinalTry: Bool
    public let isSOPINLocked: Bool
    /// The day by the token's own clock; nil if it has none or does not tell.
    public let clockDay: UTCDay?
    public let minimumPINLength: Int
    public let maximumPINLength: Int
    /// nil if the token does not tell or has no limit.
    public let maximumSessions: Int?

    init(_ slot: SlotID, _ info: CK_TOKEN_INFO) {
        func flag(_ mask: UInt) -> Bool { info.flags & mask != 0 }
        self.slot = slot
        label = padded(info.label)
        manufacturer = padded(info.manufacturerID)
        model = padded(info.model)
        serial = padded(info.serialNumber)
        labelBytes = unpadded(info.label)
        uri = TokenURI(
            label: labelBytes, manufacturer: unpadded(info.manufacturerID), model: unpadded(info.model), serial: unpadded(info.serialNumber))
        isInitialized = flag(CKF_TOKEN_INITIALIZED)
        isLoginRequired = flag(CKF_LOGIN_REQUIRED)
        isUserPINInitialized = flag(CKF_USER_PIN_INITIALIZED)
        isWriteProtected = flag(CKF_WRITE_PROTECTED)
        isUserPINCountLow = flag(CKF_USER_PIN_COUNT_LOW)
        isUserPINFinalTry = flag(CKF_USER_PIN_FINAL_TRY)
        isUserPINLocked = flag(CKF_USER_PIN_LOCKED)
        isSOPINCountLow = flag(CKF_SO_PIN_COUNT_LOW)
        isSOPINFinalTry = flag(CKF_SO_PIN_FINAL_TRY)
        isSOPINLocked = flag(CKF_SO_PIN_LOCKED)
        // YYYYMMDDhhmmss and two zeros.
        let time = padded(info.utcTime)
        clockDay = flag(CKF_CLOCK_ON_TOKEN) && time.utf8.count >= 14 ? UTCDay(date: Array(time.utf8.prefix(8))) : nil
        minimumPINLength = Int(clamping: info.ulMinPinLen)
        maximumPINLength = Int(clamping: info.ulMaxPinLen)
        let sessions = info.ulMaxSessionCount
        // CK_EFFECTIVELY_INFINITE is 0, CK_UNAVAILABLE_INFORMATION all ones.
        maximumSessions = sessions == 0 || sessions > UInt(Int32.max) ? nil : Int(sessions)
    }
}

extension TokenInfo {
    /// Whether the token has this label and no other that looks like it.
    public func isLabelled(_ text: String) -> Bool { labelBytes.elementsEqual(text.utf8) }
}

/// The text of a fixed-width field that is padded with blanks, never terminated; for people.
func padded<T>(_ field: T) -> String { String(decoding: unpadded(field), as: UTF8.self) }

/// The bytes of such a field.
func unpadded<T>(_ field: T) -> [UInt8] {
    withUnsafeBytes(of: field) { raw in
        var end = raw.count
        while end > 0, raw[end - 1] == 0x20 || raw[end - 1] == 0 { end -= 1 }
        return Array(raw[..<end])
    }
}
