/// The name of a tenant: 1 to 128 letters, digits and `. _ - : @ / +` of ASCII, so that it is the same text in a database,
/// an encryption context, a grant's pattern and an audit log, whatever normalises text on the way.
public struct TenantName: Sendable, Hashable, Comparable, CustomStringConvertible {
    public static let lengthLimit = 128

    public let description: String

    /// - Throws: ``MasterKeyError`` with `invalid-tenant`.
    public init(_ text: String) throws(MasterKeyError) {
        guard (1...Self.lengthLimit).contains(text.utf8.count) else {
            throw MasterKeyError(.invalidTenant, "a tenant's name has 1 to \(Self.lengthLimit) characters, this one has \(text.utf8.count)")
        }
        guard text.utf8.allSatisfy(Self.isAllowed) else {
            throw MasterKeyError(.invalidTenant, "a tenant's name consists of letters, digits and . _ - : @ / + (ASCII)")
        }
        description = text
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        default: ".-_:@/+".utf8.contains(byte)
        }
    }

    /// By bytes, as the databases sort them.
    public static func < (a: TenantName, b: TenantName) -> Bool {
        a.description.utf8.lexicographicallyPrecedes(b.description.utf8)
    }

    /// What binds both layers of the envelope to the tenant.
    public var encryptionContext: [String: String] { ["tenant": description] }
}
