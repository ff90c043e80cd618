import Foundation
import NIOHTTP1
import SecureMemory

/// An error as the KMS, or something before it, put it.
struct ErrorAnswer: Sendable {
    /// What the error means to the caller.
    enum Meaning: Sendable {
        case keyNotFound, keyDisabled, invalidState, denied, credentials, ciphertextRefused, throttled, unavailable, refused
    }

    /// Without the namespace; nil if the answer names none.
    let type: String?
    let message: String
    let status: Int

    init(_ answer: RawAnswer) {
        status = answer.status
        let bytes = answer.body.exposed()
        defer { bytes.zeroize() }
        let named = answer.headers.first(name: "x-amzn-errortype")
        if let object = try? JSONDecoder().decode(Members.self, from: Data(bytes)) {
            type = Self.bare(object.type ?? named)
            message = object.message ?? ""
        } else {
            let text = String(decoding: bytes, as: UTF8.self)
            type = Self.bare(named ?? Self.element("Code", of: text))
            message = Self.element("Message", of: text) ?? Self.element("title", of: text) ?? text
        }
    }

    /// By the type alone where it is known: the HTTP status is 400 for nearly all of them, and other servers put other ones.
    func meaning(createsKey: Bool) -> Meaning {
        switch type {
        case "NotFoundException": .keyNotFound
        case "DisabledException": .keyDisabled
        case "KMSInvalidStateException": .invalidState
        case "AccessDeniedException", "AccessDenied", "NotAuthorizedException", "UnauthorizedOperation": .denied
        case "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch",
            "ExpiredToken", "ExpiredTokenException", "MissingAuthenticationToken", "MissingAuthenticationTokenException",
            "IncompleteSignature", "IncompleteSignatureException", "InvalidAccessKeyId", "AuthFailure",
            "RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture":
            .credentials
        case "InvalidCiphertextException", "IncorrectKeyException": .ciphertextRefused
        // An account's limit on keys, which no waiting changes.
        case "LimitExceededException": createsKey ? .refused : .throttled
        case "ThrottlingException", "Throttling", "ThrottledException", "RequestLimitExceeded", "TooManyRequests",
            "TooManyRequestsException", "RequestThrottled", "RequestThrottledException", "SlowDown":
            .throttled
        case "KMSInternalException", "KMSInternal", "KeyUnavailableException", "DependencyTimeoutException", "InternalFailure",
            "InternalServerError", "ServiceUnavailable", "ServiceUnavailableException":
            .unavailable
        default: status == 429 ? .throttled : status >= 500 ? .unavailable : .refused
        }
    }

    /// Whether the client's clock may be why the signature was refused.
    func mayBeSkew(_ skew: TimeInterval) -> Bool {
        switch type {
        case "RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture": true
        // These mean a wrong secret as well. The KMS takes clocks that are up to five minutes off.
        case "InvalidSignatureException", "SignatureDoesNotMatch", "AuthFailure": abs(skew) > 240
        default: false
        }
    }

    /// What it said, in one line. A refused signature is answered with all that was signed, the session token too, on
    /// further lines.
    var text: String {
        let line = message.split(whereSeparator: \.isNewline).first.map(String.init) ?? ""
        let printable = String(String.UnicodeScalarView(line.unicodeScalars.filter { !CharacterSet.controlCharacters.contains($0) }))
        let short = printable.count > 400 ? printable.prefix(400) + "…" : printable[...]
        let named = type ?? "HTTP \(status)"
        return short.isEmpty ? named : "\(named): \(short)"
    }

    /// `com.amazonaws.kms#NotFoundException` and `NotFoundException:http://…` are `NotFoundException`.
    private static func bare(_ type: String?) -> String? {
        guard let type, let name = type.split(separator: "#").last?.split(separator: ":").first else { return nil }
        return name.trimmingCharacters(in: .whitespaces)
    }

    private static func element(_ name: String, of text: String) -> String? {
        guard let start = text.range(of: "<\(name)>", options: .caseInsensitive),
            let end = text.range(of: "</\(name)>", options: .caseInsensitive, range: start.upperBound..<text.endIndex)
        else { return nil }
        return text[start.upperBound..<end.lowerBound].trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// Every spelling that occurs.
    private struct Members: Decodable {
        let type: String?
        let message: String?

        init(from decoder: any Decoder) throws {
            let members = try decoder.container(keyedBy: Name.self)
            func text(_ names: String...) -> String? {
                names.lazy.compactMap { try? members.decode(String.self, forKey: Name(stringValue: $0)) }.first
            }
            type = text("__type", "code", "Code")
            message = text("message", "Message")
        }

        struct Name: CodingKey {
            let stringValue: String
            var intValue: Int? { nil }

            init(stringValue: String) { self.stringValue = stringValue }
            init?(intValue: Int) { nil }
        }
    }
}

/// The date of an answer's `Date` header, such as `Sat, 21 Nov 2026 14:43:18 GMT`.
enum HTTPDate {
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    static func parse(_ text: String) -> Date? {
        let parts = text.split(whereSeparator: { $0 == " " || $0 == ":" || $0 == "," })
        guard parts.count == 8, parts[7] == "GMT", let month = months.firstIndex(of: String(parts[2])) else { return nil }
        let numbers = [1, 3, 4, 5, 6].compactMap { Int32(parts[$0]) }
        guard numbers.count == 5, (1...31).contains(numbers[0]), (1970...9999).contains(numbers[1]) else { return nil }
        var time = tm()
        time.tm_mday = numbers[0]
        time.tm_mon = Int32(month)
        time.tm_year = numbers[1] - 1900
        time.tm_hour = numbers[2]
        time.tm_min = numbers[3]
        time.tm_sec = numbers[4]
        return Date(timeIntervalSince1970: TimeInterval(timegm(&time)))
    }
}
