import Crypto
import CSystemShim
import Foundation
import SecureMemory

/// AWS's signature, version 4, of a POST to `/` without a query: all that a KMS is asked.
enum SignatureV4 {
    /// The headers to add: `X-Amz-Date`, `Authorization`, and `X-Amz-Security-Token` for temporary keys.
    ///
    /// - Parameters:
    ///   - headers: What is signed beside the added ones, such as `Host` exactly as it is sent. Names in any case.
    ///   - bodyHash: SHA-256 of the body.
    static func headers(
        signing headers: [(name: String, value: String)], bodyHash: SHA256Digest, credentials: AWSCredentials, region: String,
        service: String = "kms", at date: Date
    ) -> [(name: String, value: String)] {
        let time = timestamp(date)
        var added = [(name: "X-Amz-Date", value: time)]
        if let token = credentials.token { added.append((name: "X-Amz-Security-Token", value: token.text)) }
        let signed = (headers + added).map { (name: $0.name.lowercased(), value: folded($0.value)) }.sorted { $0.name < $1.name }
        let names = signed.map(\.name).joined(separator: ";")
        let canonical =
            (["POST", "/", ""] + signed.map { "\($0.name):\($0.value)" } + ["", names, hexadecimal(bodyHash)]).joined(separator: "\n")
        let scope = "\(time.prefix(8))/\(region)/\(service)/aws4_request"
        let toSign = ["AWS4-HMAC-SHA256", time, scope, hexadecimal(SHA256.hash(data: Array(canonical.utf8)))].joined(separator: "\n")
        let key = signingKey(credentials.secret, [String(time.prefix(8)), region, service, "aws4_request"])
        let signature = hexadecimal(HMAC<SHA256>.authenticationCode(for: Array(toSign.utf8), using: key))
        let authorization = "AWS4-HMAC-SHA256 Credential=\(credentials.id)/\(scope), SignedHeaders=\(names), Signature=\(signature)"
        return added + [(name: "Authorization", value: authorization)]
    }

    /// The key of a day, region and service. `SymmetricKey` zeroes its own memory; what lies between is zeroed here.
    private static func signingKey(_ secret: SecretBytes, _ scope: [String]) -> SymmetricKey {
        let prefix = Array("AWS4".utf8)
        var start = [UInt8]()
        // Room from the beginning: growing would leave a copy.
        start.reserveCapacity(prefix.count + secret.count)
        start += prefix
        secret.withBytes { span in
            for offset in span.byteOffsets { start.append(span.unsafeLoad(fromByteOffset: offset, as: UInt8.self)) }
        }
        defer { start.zeroize() }
        return scope.reduce(SymmetricKey(data: start)) { key, part in
            var code = HMAC<SHA256>.authenticationCode(for: Array(part.utf8), using: key)
            defer { withUnsafeMutableBytes(of: &code) { csystem_zeroize($0.baseAddress, $0.count) } }
            return SymmetricKey(data: code)
        }
    }

    /// Such as `20260102T030405Z`.
    static func timestamp(_ date: Date) -> String {
        date.formatted(Date.ISO8601FormatStyle(dateSeparator: .omitted, timeSeparator: .omitted, timeZone: .gmt))
    }

    /// Without white space around it, and one blank where there were several.
    private static func folded(_ value: String) -> String {
        value.split(whereSeparator: { $0 == " " || $0 == "\t" }).joined(separator: " ")
    }

    private static func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
    }
}
