import Custody
import CustodyProtocol
import CustodyServer
import SecureMemory
import SwiftProtobuf

/// The body of a frame: what decodes becomes operations of the domain or an error, and says the same as before.
enum RequestTarget: FuzzTarget {
    static let name = "requests"

    static func run(_ bytes: [UInt8]) throws {
        guard let request = try? WireRequest(serializedBytes: bytes) else { return }
        let again: [UInt8] = try request.serializedBytes()
        try require(try WireRequest(serializedBytes: again) == request, "it changes on the way")
        _ = try labels(request.onBehalfOf)
        for operation in request.operations.prefix(Frame.batchLimit) { try check(operation) }
    }

    private static func check(_ wire: WireOperation) throws {
        let item = WireMapping.item(wire)
        guard case .success(let operation) = item.operation else {
            try require(item.kind == nil || !pairs(wire).isEmpty || (try? KeyName(keyName(wire))) == nil, "refused without a reason: \(item)")
            return
        }
        try require(item.kind == operation.kind, "\(operation.kind) is announced as \(String(describing: item.kind))")
        let context = operation.kind.hasContext ? try labels(pairs(wire)) : nil
        try require(operation.context == context, "it has another context")
        switch (wire.kind, operation) {
        case (.wrap(let wire), .wrap(let key, let plaintext, _)):
            try require(key.description == wire.keyName && plaintext.exposed() == Array(wire.plaintext), "wrap")
        case (.unwrap(let wire), .unwrap(let blob, _)): try require(blob == Array(wire.blob), "unwrap")
        case (.rewrap(let wire), .rewrap(let blob, _)): try require(blob == Array(wire.blob), "rewrap")
        case (.generateDataKey(let wire), .generateDataKey(let key, let length, let withPlaintext, _)):
            try require(
                key.description == wire.keyName && length == (wire.length == 0 ? 32 : Int(wire.length)) && withPlaintext != wire.withoutPlaintext,
                "generate-data-key")
        case (.encrypt(let wire), .encrypt(let key, let plaintext, let aad)):
            try require(key.description == wire.keyName && plaintext.exposed() == Array(wire.plaintext) && aad == Array(wire.aad), "encrypt")
        case (.decrypt(let wire), .decrypt(let parts)):
            try require(
                parts.keyID == Array(wire.keyID) && parts.nonce == Array(wire.nonce) && parts.tag == Array(wire.tag)
                    && parts.ciphertext == Array(wire.ciphertext) && parts.aad == Array(wire.aad), "decrypt")
        case (.status, .status), (.metrics, .metrics), (.reload, .reload): break
        default: throw Violation(description: "\(operation.kind) was made of something else")
        }
    }

    private static func keyName(_ operation: WireOperation) -> String {
        switch operation.kind {
        case .wrap(let wrap): wrap.keyName
        case .generateDataKey(let dataKey): dataKey.keyName
        case .encrypt(let encrypt): encrypt.keyName
        case .unwrap, .rewrap, .decrypt, .status, .metrics, .reload, nil: "none"
        }
    }

    private static func pairs(_ operation: WireOperation) -> [WirePair] {
        switch operation.kind {
        case .wrap(let wire): wire.context
        case .unwrap(let wire): wire.context
        case .rewrap(let wire): wire.context
        case .generateDataKey(let wire): wire.context
        case .encrypt, .decrypt, .status, .metrics, .reload, nil: []
        }
    }

    /// nil if they are refused, which only an invalid context is.
    private static func labels(_ pairs: [WirePair]) throws -> EncryptionContext? {
        let context: EncryptionContext
        do throws(CustodyError) {
            context = try WireMapping.context(pairs)
        } catch {
            try require(error.code == .invalidContext, "refused: \(error)")
            return nil
        }
        try ContextTarget.check(context)
        return context
    }
}
