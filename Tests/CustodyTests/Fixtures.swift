import PKCS11
import SecureMemory
import TestSupport
import Testing

@testable import Custody

/// Expects an error with this code and returns it.
@discardableResult
func expectError<R>(
    _ code: CustodyError.Code, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws(CustodyError) -> R
) throws -> CustodyError {
    do throws(CustodyError) {
        _ = try body()
    } catch {
        #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
        return error
    }
    Issue.record("expected \(code.rawValue), and it succeeded", sourceLocation: sourceLocation)
    throw Succeeded()
}

struct Succeeded: Error {}

/// A secret of its own storage: one that shares an array's would zero it as well.
func secret(_ bytes: [UInt8]) -> SecretBytes { SecretBytes(bytes.map { $0 }) }

extension EncryptionContext {
    init(_ pairs: KeyValuePairs<String, String>) throws {
        try self.init(pairs.map { Entry(key: $0.key, value: $0.value) })
    }
}

extension Principal {
    static let owner = Principal(uid: 1_000, gids: [1_000, 50], pid: 4_711)
    static let stranger = Principal(uid: 2_000, gids: [2_000], pid: 4_712)
}

extension Grant {
    static func everything(_ principal: Principal = .owner, keys: [String] = ["*"], context: [String: Pattern] = [:]) -> Grant {
        Grant(
            rule: "custody.toml:1", subject: .user(name: "owner", uid: principal.uid), keys: keys.map(Pattern.init),
            operations: Set(Operation.Kind.allCases), context: context)
    }
}

/// How root keys are made in tests; each field is one way to make it wrongly.
struct RootKeyTemplate {
    var name = "root"
    var id: [UInt8]
    var extractable = false
    var sensitive = true
    var encrypt = true
    var decrypt = true
    var wrap = false
    var length = 32

    init(_ name: String = "root", id: [UInt8]) {
        self.name = name
        self.id = id
    }

    var attributes: [Attribute] {
        [
            .objectClass(.secretKey), .keyType(.aes), .bool(.token, true), .bool(.isPrivate, true), .label(name), .id(id),
            .bool(.sensitive, sensitive), .bool(.extractable, extractable), .bool(.encrypt, encrypt), .bool(.decrypt, decrypt),
            .bool(.wrap, wrap), .bool(.unwrap, false), .bool(.sign, false), .bool(.verify, false),
        ]
    }

    @discardableResult
    func generate(_ session: borrowing Session) throws -> ObjectHandle {
        try session.generateKey(.aesKeyGeneration, attributes + [.valueLength(length)])
    }

    /// As whoever has no PIN can make it.
    var withoutPIN: [Attribute] {
        attributes.filter { ![.isPrivate, .sensitive, .extractable].contains($0.type) }
            + [.bool(.isPrivate, false), .bool(.sensitive, false), .bool(.extractable, true), .value([UInt8](repeating: 7, count: 32))]
    }

    @discardableResult
    func importing(_ value: [UInt8], _ session: borrowing Session) throws -> ObjectHandle {
        try session.createObject(attributes + [.value(value)])
    }
}
