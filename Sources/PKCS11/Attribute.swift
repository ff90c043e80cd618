import CPKCS11

/// The type of an object's attribute (CK_ATTRIBUTE_TYPE).
public struct AttributeType: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: UInt

    public init(rawValue: UInt) { self.rawValue = rawValue }

    public static let objectClass = AttributeType(rawValue: CKA_CLASS)
    public static let token = AttributeType(rawValue: CKA_TOKEN)
    public static let isPrivate = AttributeType(rawValue: CKA_PRIVATE)
    public static let label = AttributeType(rawValue: CKA_LABEL)
    public static let value = AttributeType(rawValue: CKA_VALUE)
    public static let application = AttributeType(rawValue: CKA_APPLICATION)
    public static let keyType = AttributeType(rawValue: CKA_KEY_TYPE)
    public static let id = AttributeType(rawValue: CKA_ID)
    public static let sensitive = AttributeType(rawValue: CKA_SENSITIVE)
    public static let encrypt = AttributeType(rawValue: CKA_ENCRYPT)
    public static let decrypt = AttributeType(rawValue: CKA_DECRYPT)
    public static let wrap = AttributeType(rawValue: CKA_WRAP)
    public static let unwrap = AttributeType(rawValue: CKA_UNWRAP)
    public static let sign = AttributeType(rawValue: CKA_SIGN)
    public static let verify = AttributeType(rawValue: CKA_VERIFY)
    public static let derive = AttributeType(rawValue: CKA_DERIVE)
    public static let startDate = AttributeType(rawValue: CKA_START_DATE)
    public static let endDate = AttributeType(rawValue: CKA_END_DATE)
    public static let valueLength = AttributeType(rawValue: CKA_VALUE_LEN)
    public static let extractable = AttributeType(rawValue: CKA_EXTRACTABLE)
    public static let local = AttributeType(rawValue: CKA_LOCAL)
    public static let neverExtractable = AttributeType(rawValue: CKA_NEVER_EXTRACTABLE)
    public static let alwaysSensitive = AttributeType(rawValue: CKA_ALWAYS_SENSITIVE)
    public static let modifiable = AttributeType(rawValue: CKA_MODIFIABLE)
    public static let keyGenerationMechanism = AttributeType(rawValue: CKA_KEY_GEN_MECHANISM)
    public static let modulus = AttributeType(rawValue: CKA_MODULUS)
    public static let modulusBits = AttributeType(rawValue: CKA_MODULUS_BITS)
    public static let publicExponent = AttributeType(rawValue: CKA_PUBLIC_EXPONENT)

    public var description: String { Self.names[self] ?? "CKA_0x" + String(rawValue, radix: 16, uppercase: true) }

    private static let names: [AttributeType: String] = [
        .objectClass: "CKA_CLASS", .token: "CKA_TOKEN", .isPrivate: "CKA_PRIVATE", .label: "CKA_LABEL",
        .value: "CKA_VALUE", .application: "CKA_APPLICATION", .keyType: "CKA_KEY_TYPE", .id: "CKA_ID", .sensitive: "CKA_SENSITIVE",
        .encrypt: "CKA_ENCRYPT", .decrypt: "CKA_DECRYPT", .wrap: "CKA_WRAP", .unwrap: "CKA_UNWRAP",
        .sign: "CKA_SIGN", .verify: "CKA_VERIFY", .derive: "CKA_DERIVE", .startDate: "CKA_START_DATE",
        .endDate: "CKA_END_DATE", .valueLength: "CKA_VALUE_LEN", .extractable: "CKA_EXTRACTABLE",
        .local: "CKA_LOCAL", .neverExtractable: "CKA_NEVER_EXTRACTABLE",
        .alwaysSensitive: "CKA_ALWAYS_SENSITIVE", .modifiable: "CKA_MODIFIABLE",
        .keyGenerationMechanism: "CKA_KEY_GEN_MECHANISM", .modulus: "CKA_MODULUS", .modulusBits: "CKA_MODULUS_BITS",
        .publicExponent: "CKA_PUBLIC_EXPONENT",
    ]
}

/// The class of an object (CKA_CLASS).
public enum ObjectClass: Sendable, Hashable {
    case data, secretKey, privateKey, publicKey

    var rawValue: UInt {
        switch self {
        case .data: CKO_DATA
        case .secretKey: CKO_SECRET_KEY
        case .privateKey: CKO_PRIVATE_KEY
        case .publicKey: CKO_PUBLIC_KEY
        }
    }
}

/// The type of a key (CKA_KEY_TYPE).
public enum KeyType: Sendable, Hashable {
    case aes, genericSecret, des, des3, camellia, aria, seed, rsa

    var rawValue: UInt {
        switch self {
        case .aes: CKK_AES
        case .genericSecret: CKK_GENERIC_SECRET
        case .des: CKK_DES
        case .des3: CKK_DES3
        case .camellia: CKK_CAMELLIA
        case .aria: CKK_ARIA
        case .seed: CKK_SEED
        case .rsa: CKK_RSA
        }
    }
}

/// One attribute with its value, as it stands in a template.
public struct Attribute: Sendable, Hashable {
    public let type: AttributeType
    let bytes: [UInt8]

    init(_ type: AttributeType, bytes: [UInt8]) {
        self.type = type
        self.bytes = bytes
    }

    init(_ type: AttributeType, number: UInt) {
        self.init(type, bytes: withUnsafeBytes(of: number) { Array($0) })
    }

    public static func bool(_ type: AttributeType, _ value: Bool) -> Attribute {
        Attribute(type, bytes: [value ? 1 : 0])
    }

    public static func objectClass(_ value: ObjectClass) -> Attribute { Attribute(.objectClass, number: value.rawValue) }
    public static func keyType(_ value: KeyType) -> Attribute { Attribute(.keyType, number: value.rawValue) }
    public static func valueLength(_ value: Int) -> Attribute { Attribute(.valueLength, number: UInt(value)) }
    public static func modulusBits(_ value: Int) -> Attribute { Attribute(.modulusBits, number: UInt(value)) }
    /// A big-endian number.
    public static func modulus(_ value: [UInt8]) -> Attribute { Attribute(.modulus, bytes: value) }
    /// A big-endian number.
    public static func publicExponent(_ value: [UInt8]) -> Attribute { Attribute(.publicExponent, bytes: value) }
    public static func label(_ value: String) -> Attribute { Attribute(.label, bytes: Array(value.utf8)) }
    public static func application(_ value: String) -> Attribute { Attribute(.application, bytes: Array(value.utf8)) }
    public static func id(_ value: [UInt8]) -> Attribute { Attribute(.id, bytes: value) }
    /// A CK_DATE; nil is the empty value, which takes a date away.
    public static func date(_ type: AttributeType, _ day: UTCDay?) -> Attribute { Attribute(type, bytes: day?.dateBytes ?? []) }
    /// The key's value, to create an object from known bytes. Custody never does; its tests do.
    public static func value(_ value: [UInt8]) -> Attribute { Attribute(.value, bytes: value) }
}

/// The attributes of an object as the token gave them. What it would not give is absent.
public struct AttributeSet: Sendable, Hashable {
    let values: [AttributeType: [UInt8]]

    public func bool(_ type: AttributeType) -> Bool? {
        guard let bytes = values[type], bytes.count == 1 else { return nil }
        return bytes[0] != 0
    }

    public func number(_ type: AttributeType) -> UInt? {
        guard let bytes = values[type], bytes.count == MemoryLayout<UInt>.size else { return nil }
        return bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt.self) }
    }

    public func string(_ type: AttributeType) -> String? {
        values[type].map { String(decoding: $0, as: UTF8.self) }
    }

    public func bytes(_ type: AttributeType) -> [UInt8]? { values[type] }

    /// The same set with one value replaced.
    public func replacing(_ attribute: Attribute) -> AttributeSet {
        AttributeSet(values: values.merging([attribute.type: attribute.bytes]) { _, new in new })
    }

    /// A CK_DATE; nil if the object has none, or something in its place that is no day.
    public func day(_ type: AttributeType) -> UTCDay? { values[type].flatMap { UTCDay(date: $0) } }

    /// The same as `YYYY-MM-DD`.
    public func date(_ type: AttributeType) -> String? { day(type)?.description }

    public func isKeyType(_ type: KeyType) -> Bool { number(.keyType) == type.rawValue }

    /// Whether the token says that no mechanism of its own made the key (CK_UNAVAILABLE_INFORMATION).
    public var isWithoutGenerationMechanism: Bool { number(.keyGenerationMechanism) == UInt.max }
}
