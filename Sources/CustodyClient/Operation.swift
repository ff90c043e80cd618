import CustodyProtocol
import Foundation
import SecureMemory
import SwiftProtobuf

extension CustodyClient {
    /// One operation of a batch.
    public enum Operation: Sendable {
        case wrap(SecretBytes, key: String, context: [String: String])
        case unwrap([UInt8], context: [String: String])
        case rewrap([UInt8], context: [String: String])
        case generateDataKey(key: String, length: Int, withPlaintext: Bool, context: [String: String])
        case encrypt(SecretBytes, key: String, aad: [UInt8])
        case decrypt(RawCiphertext, aad: [UInt8])
        case status
        case metrics
        case reload
        case disconnect(uid: UInt32)

        var wire: WireOperation {
            WireOperation.with {
                switch self {
                case .wrap(let plaintext, let key, let context):
                    $0.wrap = .with {
                        $0.keyName = key
                        $0.plaintext = Data(plaintext.exposed())
                        $0.context = Self.pairs(context)
                    }
                case .unwrap(let blob, let context):
                    $0.unwrap = .with {
                        $0.blob = Data(blob)
                        $0.context = Self.pairs(context)
                    }
                case .rewrap(let blob, let context):
                    $0.rewrap = .with {
                        $0.blob = Data(blob)
                        $0.context = Self.pairs(context)
                    }
                case .generateDataKey(let key, let length, let withPlaintext, let context):
                    $0.generateDataKey = .with {
                        $0.keyName = key
                        $0.length = UInt32(clamping: length)
                        $0.withoutPlaintext = !withPlaintext
                        $0.context = Self.pairs(context)
                    }
                case .encrypt(let plaintext, let key, let aad):
                    $0.encrypt = .with {
                        $0.keyName = key
                        $0.plaintext = Data(plaintext.exposed())
                        $0.aad = Data(aad)
                    }
                case .decrypt(let raw, let aad):
                    $0.decrypt = .with {
                        $0.keyID = Data(raw.keyID)
                        $0.nonce = Data(raw.nonce)
                        $0.ciphertext = Data(raw.ciphertext)
                        $0.tag = Data(raw.tag)
                        $0.aad = Data(aad)
                    }
                case .status: $0.status = .init()
                case .metrics: $0.metrics = .init()
                case .reload: $0.reload = .init()
                case .disconnect(let uid): $0.disconnect = .with { $0.uid = uid }
                }
            }
        }

        static func pairs(_ context: [String: String]) -> [WirePair] {
            context.map { key, value in
                WirePair.with {
                    $0.key = key
                    $0.value = value
                }
            }
        }
    }
}

/// A new blob and the key version that it is wrapped under.
public struct WrappedBlob: Sendable {
    public let blob: [UInt8]
    public let keyName: String
    public let keyVersion: UInt32
}

/// A blob's content and the key version that opened it.
public struct UnwrappedBlob: Sendable {
    public let plaintext: SecretBytes
    public let keyName: String
    public let keyVersion: UInt32
}

/// A data key: wrapped, and in plain if that was asked for.
public struct DataKey: Sendable {
    public let blob: [UInt8]
    public let plaintext: SecretBytes?
    public let keyName: String
    public let keyVersion: UInt32
}

/// The parts of a ciphertext of the raw form.
public struct RawCiphertext: Sendable {
    public let keyID: [UInt8]
    public let nonce: [UInt8]
    public let ciphertext: [UInt8]
    public let tag: [UInt8]

    public init(keyID: [UInt8], nonce: [UInt8], ciphertext: [UInt8], tag: [UInt8]) {
        self.keyID = keyID
        self.nonce = nonce
        self.ciphertext = ciphertext
        self.tag = tag
    }
}

extension CustodyClient {
    /// What an operation gave.
    public enum Answer: Sendable {
        case wrapped(WrappedBlob)
        case unwrapped(UnwrappedBlob)
        case dataKey(DataKey)
        case encrypted(RawCiphertext)
        case decrypted(SecretBytes)
        case status(WireStatusReport)
        case reloaded(WireConfigurationReport)
        case disconnected(connections: Int)

        init?(_ result: WireResult) {
            switch result.kind {
            case .wrapped(let wrapped):
                self = .wrapped(WrappedBlob(blob: Array(wrapped.blob), keyName: wrapped.keyName, keyVersion: wrapped.keyVersion))
            case .unwrapped(let unwrapped):
                self = .unwrapped(UnwrappedBlob(
                    plaintext: SecretBytes(unwrapped.plaintext), keyName: unwrapped.keyName, keyVersion: unwrapped.keyVersion))
            case .dataKey(let dataKey):
                self = .dataKey(DataKey(
                    blob: Array(dataKey.blob), plaintext: dataKey.plaintext.isEmpty ? nil : SecretBytes(dataKey.plaintext),
                    keyName: dataKey.keyName, keyVersion: dataKey.keyVersion))
            case .encrypted(let encrypted):
                self = .encrypted(RawCiphertext(
                    keyID: Array(encrypted.keyID), nonce: Array(encrypted.nonce), ciphertext: Array(encrypted.ciphertext),
                    tag: Array(encrypted.tag)))
            case .decrypted(let decrypted): self = .decrypted(SecretBytes(decrypted.plaintext))
            case .status(let status): self = .status(status)
            case .reloaded(let reloaded): self = .reloaded(reloaded.configuration)
            case .disconnected(let disconnected): self = .disconnected(connections: Int(disconnected.connections))
            case .error, nil: return nil
            }
        }

        var wrapped: WrappedBlob? { if case .wrapped(let value) = self { value } else { nil } }
        var unwrapped: UnwrappedBlob? { if case .unwrapped(let value) = self { value } else { nil } }
        var dataKey: DataKey? { if case .dataKey(let value) = self { value } else { nil } }
        var encrypted: RawCiphertext? { if case .encrypted(let value) = self { value } else { nil } }
        var decrypted: SecretBytes? { if case .decrypted(let value) = self { value } else { nil } }
        var reloaded: WireConfigurationReport? { if case .reloaded(let value) = self { value } else { nil } }
        var disconnected: Int? { if case .disconnected(let value) = self { value } else { nil } }
        var status: WireStatusReport? { if case .status(let value) = self { value } else { nil } }
    }
}
