import PKCS11

/// PKCS#11 URIs: what is taken reads the same the second time, and a PIN in one is refused and not repeated.
enum TokenURITarget: FuzzTarget {
    static let name = "token-uri"
    private static let pin = "73591846"

    static func run(_ bytes: [UInt8]) throws {
        let text = bytes.text
        if let uri = try read(text) {
            try require(uri.description == text, "it says something else")
            try require(try TokenURI(uri.description) == uri, "it reads differently the second time")
            // What p11-kit does not see, people would.
            let parts = text.utf8.dropFirst("pkcs11:".utf8.count).split(separator: UInt8(ascii: "?"), maxSplits: 1)
            let attributes = parts.flatMap { $0.split { $0 == UInt8(ascii: ";") || $0 == UInt8(ascii: "&") } }
            try require(!attributes.contains { (String($0) ?? "").lowercased().hasPrefix("pin-") }, "a PIN was overlooked")
            try require(!text.utf8.contains(0), "what follows the NUL was overlooked")
        }
        // Behind a query `;` belongs to the value before it, behind a path `&` does.
        let hasQuery = text.utf8.contains(UInt8(ascii: "?"))
        let places = hasQuery ? ["&pin-value="] : [";pin-value=", ";PIN-Value=", "?pin-value="]
        for place in places where !text.contains(pin) {
            try require(try read(text + place + pin, hasPIN: true) == nil, "a PIN was taken")
        }
        // A label fits into 32 bytes.
        var label = ""
        for scalar in text.unicodeScalars where label.utf8.count + String(scalar).utf8.count <= 32 { label.unicodeScalars.append(scalar) }
        try require((try? TokenURI(TokenURI(label: label).description)) != nil || label.utf8.contains(0), "the URI of a label is none")
    }

    /// nil if it is refused.
    private static func read(_ text: String, hasPIN: Bool = false) throws -> TokenURI? {
        do throws(PKCS11Error) {
            return try TokenURI(text)
        } catch {
            try require(error.code == .invalidURI, "refused with \(error)")
            // By bytes: a character may be a digit together with what follows it.
            let isRepeated = Array(error.description.utf8).firstIndex(of: Array(pin.utf8)) != nil
            try require(!isRepeated || !hasPIN, "the PIN is repeated: \(error)")
            return nil
        }
    }
}
