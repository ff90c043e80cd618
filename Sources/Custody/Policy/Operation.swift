import SecureMemory

/// What a caller asks for.
public enum Operation: Sendable {
    case wrap(key: KeyName, plaintext: SecretBytes, context: EncryptionContext)
    case unwrap(blob: [UInt8], context: EncryptionContext)
    case rewrap(blob: [UInt8], context: EncryptionContext)
    case generateDataKey(key: KeyName, length: Int, withPlaintext: Bool, context: EncryptionContext)
    /// The raw form of wrap.
    case encrypt(key: KeyName, plaintext: SecretBytes, aad: [UInt8])
    /// The raw form of unwrap.
    case decrypt(RawCiphertext)
    case status
    /// Status with everything that is counted and timed; who may ask for the one may ask for the other.
    case metrics
    /// Reads the configuration anew; an administrator's.
    case reload

    /// The names by which grants and the audit log speak of operations.
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        case wrap, unwrap, rewrap
        case generateDataKey = "generate-data-key"
        case encrypt, decrypt, status, reload

        /// Whether it uses a root key; the others tell of the daemon or change it.
        public var usesKey: Bool { self != .status && self != .reload }

        /// Whether its requests have an encryption context; the raw forms use a key and have none.
        public var hasContext: Bool {
            switch self {
            case .wrap, .unwrap, .rewrap, .generateDataKey: true
            case .encrypt, .decrypt, .status, .reload: false
            }
        }
    }

    public var kind: Kind {
        switch self {
        case .wrap: .wrap
        case .unwrap: .unwrap
        case .rewrap: .rewrap
        case .generateDataKey: .generateDataKey
        case .encrypt: .encrypt
        case .decrypt: .decrypt
        case .status, .metrics: .status
        case .reload: .reload
        }
    }

    /// The encryption context, for the operations that have one.
    public var context: EncryptionContext? {
        switch self {
        case .wrap(_, _, let context), .unwrap(_, let context), .rewrap(_, let context),
            .generateDataKey(_, _, _, let context): context
        case .encrypt, .decrypt, .status, .metrics, .reload: nil
        }
    }
}

/// The parts of a ciphertext of the raw form.
public struct RawCiphertext: Sendable {
    public let keyID: [UInt8]
    public let nonce: [UInt8]
    public let ciphertext: [UInt8]
    public let tag: [UInt8]
    public let aad: [UInt8]

    public init(keyID: [UInt8], nonce: [UInt8], ciphertext: [UInt8], tag: [UInt8], aad: [UInt8]) {
        self.keyID = keyID
        self.nonce = nonce
        self.ciphertext = ciphertext
        self.tag = tag
        self.aad = aad
    }
}

/// What an operation gave.
public enum Answer: Sendable {
    case wrapped(blob: [UInt8], KeyReference)
    case unwrapped(SecretBytes, KeyReference)
    case dataKey(blob: [UInt8], plaintext: SecretBytes?, KeyReference)
    case encrypted(nonce: [UInt8], ciphertext: [UInt8], tag: [UInt8], KeyReference)
    case decrypted(SecretBytes, KeyReference)
    case status(StatusReport)
    case reloaded(ConfigurationReport)
}

/// Which key version an operation used.
public struct KeyReference: Sendable, Hashable {
    public let name: KeyName
    public let id: KeyID

    init(_ version: KeyVersion) {
        name = version.name
        id = version.id
    }
}
