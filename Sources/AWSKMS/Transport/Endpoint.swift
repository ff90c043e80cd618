import Foundation
import MasterKey

/// Where the KMS listens.
struct Endpoint: Sendable, Hashable, CustomStringConvertible {
    let url: String
    /// As the Host header says it, which is signed.
    let authority: String
    let host: String

    init(_ address: String) throws(MasterKeyError) {
        guard let parts = URLComponents(string: address), let scheme = parts.scheme?.lowercased(), let named = parts.host,
            !named.isEmpty, parts.user == nil, parts.password == nil, parts.query == nil, parts.fragment == nil,
            parts.path.isEmpty || parts.path == "/", scheme == "https" || scheme == "http", Self.isPlain(address, named),
            Self.isUsable(parts.port, in: address)
        else {
            // Not repeated: it may hold a password.
            throw MasterKeyError(
                .kmsConfiguration, "the KMS's endpoint is not an address such as https://host or https://host:port, with a port from 1 to 65535",
                advice: "correct AWS_ENDPOINT_URL_KMS, or the endpoint named when calling")
        }
        host = named.trimmingCharacters(in: ["[", "]"]).lowercased()
        guard scheme == "https" || LoopbackHost.contains(host) else {
            throw MasterKeyError(
                .kmsConfiguration, "the KMS's endpoint http://\(host) is not protected by TLS, and plaintext keys would travel over it",
                advice: "use https://; http:// is taken for 127.0.0.0/8, ::1 and localhost only")
        }
        let shown = host.contains(":") ? "[\(host)]" : host
        let usualPort = scheme == "https" ? 443 : 80
        let port = parts.port ?? usualPort
        authority = port == usualPort ? shown : "\(shown):\(port)"
        url = "\(scheme)://\(authority)/"
    }

    private static func isUsable(_ port: Int?, in address: String) -> Bool {
        if let port { return (1...65_535).contains(port) }
        // A number too large for any type may be read as none.
        let authority = address.drop { $0 != "/" }.drop { $0 == "/" }.prefix { $0 != "/" }
        return authority.last == "]" || !authority.contains(":")
    }

    /// Whether a host stands as it is meant: what is escaped, or is a control character, reads differently to whoever gets it.
    private static func isPlain(_ address: String, _ host: String) -> Bool {
        !address.utf8.contains(UInt8(ascii: "%")) && host.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
    }

    var description: String { String(url.dropLast()) }
}
