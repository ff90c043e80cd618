import PKCS11

/// How a key is wrapped with a mechanism: under which kind of key, and with which parameters.
struct WrappingMechanism {
    /// A kind of wrapping key, and how the token makes one.
    enum KeyKind: Hashable, CaseIterable {
        case aes, des3, des, camellia, aria, seed, rsa

        var type: KeyType {
            switch self {
            case .aes: .aes
            case .des3: .des3
            case .des: .des
            case .camellia: .camellia
            case .aria: .aria
            case .seed: .seed
            case .rsa: .rsa
            }
        }

        var generation: Mechanism {
            switch self {
            case .aes: .aesKeyGeneration
            case .des3: .des3KeyGeneration
            case .des: .desKeyGeneration
            case .camellia: .camelliaKeyGeneration
            case .aria: .ariaKeyGeneration
            case .seed: .seedKeyGeneration
            case .rsa: .rsaKeyPairGeneration
            }
        }

        /// For kinds whose keys have no fixed length.
        var length: Int? { [.aes, .camellia, .aria].contains(self) ? 32 : nil }
    }

    let mechanism: Mechanism
    let kind: KeyKind
    /// To be tried one after the other until the token answers one of them for the key's sake.
    let parameters: [Session.WrapParameters]
    /// Tokens leave mechanisms out of their list and know them all the same: these are tried in any case.
    let isAlwaysTried: Bool

    private init(_ mechanism: Mechanism, _ kind: KeyKind, _ parameters: Session.WrapParameters..., isAlwaysTried: Bool = false) {
        self.mechanism = mechanism
        self.kind = kind
        self.parameters = parameters
        self.isAlwaysTried = isAlwaysTried
    }

    /// Everything that Custody knows how to ask for; what takes the longest is at the end.
    static let known: [WrappingMechanism] = [
        .init(.aesKeyWrap, .aes, .none, isAlwaysTried: true), .init(.aesKeyWrapPad, .aes, .none, isAlwaysTried: true),
        .init(.aesKeyWrapKWP, .aes, .none, isAlwaysTried: true),
        .init(.aesCBC, .aes, .initializationVector(16), isAlwaysTried: true),
        .init(.aesCBCPad, .aes, .initializationVector(16), isAlwaysTried: true),
        .init(.aesECB, .aes, .none, isAlwaysTried: true), .init(.aesGCM, .aes, .gcm, isAlwaysTried: true),
        .init(.aesCTR, .aes, .counter),
        .init(.des3CBC, .des3, .initializationVector(8)), .init(.des3CBCPad, .des3, .initializationVector(8)), .init(.des3ECB, .des3, .none),
        .init(.desCBC, .des, .initializationVector(8)), .init(.desCBCPad, .des, .initializationVector(8)), .init(.desECB, .des, .none),
        .init(.camelliaCBC, .camellia, .initializationVector(16)), .init(.camelliaCBCPad, .camellia, .initializationVector(16)),
        .init(.camelliaECB, .camellia, .none),
        .init(.ariaCBC, .aria, .initializationVector(16)), .init(.ariaCBCPad, .aria, .initializationVector(16)),
        .init(.ariaECB, .aria, .none),
        .init(.seedCBC, .seed, .initializationVector(16)), .init(.seedCBCPad, .seed, .initializationVector(16)),
        .init(.seedECB, .seed, .none),
        .init(.rsaPKCS, .rsa, .none), .init(.rsaOAEP, .rsa, .oaepSHA1, .oaepSHA256), .init(.rsaX509, .rsa, .none),
        .init(.rsaAESKeyWrap, .rsa, .rsaAESSHA1, .rsaAESSHA256),
    ]

    private static let knownMechanisms = Set(known.map(\.mechanism))

    /// Those to try on a token.
    ///
    /// - Parameter listed: The mechanisms that it lists, each with whether it says that it wraps keys; nil if it gave no list.
    static func toTry(listed: [Mechanism: Bool]?) -> [WrappingMechanism] {
        known.filter { known in
            guard !known.isAlwaysTried else { return true }
            // Without a list the kinds that every token has.
            guard let listed else { return known.kind == .rsa }
            // RSA's flags are wrong on some tokens; that it lists the mechanism is enough.
            return known.kind == .rsa ? listed[known.mechanism] != nil : listed[known.mechanism] == true
        }
    }

    /// Those that the token lists as wrapping keys, and that Custody does not know how to ask for: a call with wrong parameters
    /// crashes some modules.
    static func unknown(listed: [Mechanism: Bool]?) -> [Mechanism] {
        (listed ?? [:]).filter { $0.value && !knownMechanisms.contains($0.key) }.map(\.key).sorted { $0.rawValue < $1.rawValue }
    }
}
