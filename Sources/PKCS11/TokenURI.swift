import CPKCS11

/// A PKCS#11 URI (RFC 7512) that selects a token, such as `pkcs11:token=custody;manufacturer=SoftHSM%20project`.
///
/// Only the attributes that describe a token or slot count. A URI with an object's attributes or a PIN is refused: a PIN
/// in a URI ends up in process lists and logs.
public struct TokenURI: Sendable, Hashable, CustomStringConvertible {
    /// The URI as it was given.
    public let string: String

    /// - Throws: ``PKCS11Error`` with ``PKCS11Error/Code/invalidURI``.
    public init(_ string: String) throws(PKCS11Error) {
        self.string = string
        _ = try Self.match(string, nil)
    }

    /// A URI for the token of this label.
    public init(label: String) {
        string = "pkcs11:token=\(Self.escaped(label.utf8))"
    }

    /// The URI that says everything about a token that does not change with its slot.
    public init(_ token: TokenInfo) { self = token.uri }

    init(label: [UInt8], manufacturer: [UInt8], model: [UInt8], serial: [UInt8]) {
        let parts = [("token", label), ("manufacturer", manufacturer), ("model", model), ("serial", serial)]
        string = "pkcs11:" + parts.filter { !$0.1.isEmpty }.map { "\($0.0)=\(Self.escaped($0.1))" }.joined(separator: ";")
    }

    private static func escaped(_ text: some Sequence<UInt8>) -> String {
        var escaped = ""
        for byte in text {
            let isUnreserved = (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte)
                || (0x61...0x7A).contains(byte) || [0x2D, 0x2E, 0x5F, 0x7E].contains(byte)
            let hex = String(byte, radix: 16, uppercase: true)
            escaped += isUnreserved ? String(UnicodeScalar(byte)) : "%" + (hex.count == 1 ? "0" : "") + hex
        }
        return escaped
    }

    /// Whether the URI selects this token.
    func matches(_ info: CK_TOKEN_INFO, slot: SlotID) -> Bool {
        (try? Self.match(string, (info, slot))) ?? false
    }

    public var description: String { string }

    private static func match(_ string: String, _ candidate: (CK_TOKEN_INFO, SlotID)?) throws(PKCS11Error) -> Bool {
        func invalid(_ why: String) -> PKCS11Error {
            PKCS11Error(
                code: .invalidURI,
                message: "'\(redacted(string))' is not a PKCS#11 URI for a token: \(why); a good one is pkcs11:token=custody")
        }
        // p11-kit would read it as the end, and what follows would be overlooked.
        guard !string.utf8.contains(0) else { throw invalid("it has a NUL") }
        // Also where p11-kit takes it for the end of a value, as behind `?module-name=a;`: a person meant a PIN.
        guard !namesPIN(string) else { throw invalid("it must not hold a PIN; name a PIN file instead") }
        guard let uri = p11_kit_uri_new() else { throw PKCS11Error(.getTokenInfo, .hostMemory) }
        defer { p11_kit_uri_free(uri) }
        let result = p11_kit_uri_parse(string, P11_KIT_URI_FOR_ANY, uri)
        guard result == P11_KIT_URI_OK.rawValue else {
            throw invalid(p11_kit_uri_message(result).map { String(cString: $0) } ?? "error \(result)")
        }
        guard p11_kit_uri_get_pin_value(uri) == nil, p11_kit_uri_get_pin_source(uri) == nil else {
            throw invalid("it must not hold a PIN; name a PIN file instead")
        }
        guard p11_kit_uri_any_unrecognized(uri) == 0 else { throw invalid("it has an attribute that is not known") }
        var attributes: CK_ULONG = 0
        _ = p11_kit_uri_get_attributes(uri, &attributes)
        guard attributes == 0 else { throw invalid("it names an object, not a token") }
        guard let (info, slot) = candidate else { return true }
        let wantedSlot = p11_kit_uri_get_slot_id(uri)
        guard wantedSlot == CK_SLOT_ID.max || wantedSlot == slot.rawValue else { return false }
        return withUnsafePointer(to: info) { p11_kit_uri_match_token_info(uri, $0) == 1 }
    }

    private static func namesPIN(_ string: String) -> Bool {
        string.utf8.split(omittingEmptySubsequences: false) { ";?&".utf8.contains($0) }.dropFirst()
            .contains { $0.prefix(4).elementsEqual("pin-".utf8, by: { $0 | 0x20 == $1 | 0x20 }) }
    }

    /// The URI up to what may be a PIN: the query, where RFC 7512 has it, or an attribute named so in the wrong place.
    private static func redacted(_ string: String) -> String {
        // By bytes: what a person reads as one character may hold a separator and what stands before it.
        let bytes = Array(string.utf8)
        var end = bytes.firstIndex { $0 == UInt8(ascii: "?") || $0 == 0 } ?? bytes.endIndex
        for index in bytes[..<end].indices where bytes[index] == UInt8(ascii: ";") || bytes[index] == UInt8(ascii: ":") {
            if bytes[(index + 1)...].prefix(3).elementsEqual("pin".utf8, by: { $0 | 0x20 == $1 }) {
                end = index + 1
                break
            }
        }
        return end == bytes.endIndex ? string : String(decoding: bytes[..<end], as: UTF8.self) + "…"
    }
}
