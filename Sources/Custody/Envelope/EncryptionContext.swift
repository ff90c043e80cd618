/// A small map of strings that a blob is bound to, such as `tenant=acme`. It is not secret and not stored in the blob:
/// whoever opens the blob gives the same context again.
///
/// Strings are compared byte by byte as UTF-8. No Unicode normalisation takes place, so "é" as one code point and as
/// two are different keys.
public struct EncryptionContext: Sendable, Hashable {
    public struct Entry: Sendable, Hashable {
        public let key: String
        public let value: String

        public init(key: String, value: String) {
            self.key = key
            self.value = value
        }

        // String's own == follows canonical equivalence, which the encoding must not.
        public static func == (a: Entry, b: Entry) -> Bool {
            a.key.utf8.elementsEqual(b.key.utf8) && a.value.utf8.elementsEqual(b.value.utf8)
        }

        public func hash(into hasher: inout Hasher) {
            for byte in key.utf8 { hasher.combine(byte) }
            hasher.combine(UInt8(0xFF))
            for byte in value.utf8 { hasher.combine(byte) }
        }
    }

    /// The entries in the order of their keys' bytes.
    public let entries: [Entry]

    public static let empty = EncryptionContext(sorted: [])

    private init(sorted: [Entry]) { entries = sorted }

    /// - Throws: ``CustodyError`` with `invalidContext`: more than ``CustodyLimits/contextEntries`` entries, an empty or
    ///   too long key, a too long value, or a key that occurs twice.
    public init(_ entries: [Entry]) throws(CustodyError) {
        guard entries.count <= CustodyLimits.contextEntries else {
            throw CustodyError(
                .invalidContext, "the context has \(entries.count) entries; at most \(CustodyLimits.contextEntries) are allowed")
        }
        for entry in entries {
            let length = entry.key.utf8.count
            guard length > 0 else { throw CustodyError(.invalidContext, "a context key is empty") }
            guard length <= CustodyLimits.contextKey else {
                throw CustodyError(
                    .invalidContext, "a context key has \(length) bytes; at most \(CustodyLimits.contextKey) are allowed")
            }
            guard entry.value.utf8.count <= CustodyLimits.contextValue else {
                throw CustodyError(
                    .invalidContext,
                    "the value of context key '\(entry.key)' has \(entry.value.utf8.count) bytes; at most \(CustodyLimits.contextValue) are allowed")
            }
        }
        let sorted = entries.count < 2 ? entries : entries.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
        for (first, second) in zip(sorted, sorted.dropFirst()) where first.key.utf8.elementsEqual(second.key.utf8) {
            throw CustodyError(.invalidContext, "the context key '\(first.key)' occurs twice")
        }
        self.init(sorted: sorted)
    }

    public subscript(key: String) -> String? {
        entries.first { $0.key.utf8.elementsEqual(key.utf8) }?.value
    }

    /// Appends the canonical encoding: the number of entries, then for each its key and its value in the order of the
    /// keys' bytes; numbers and lengths as 2 bytes, big-endian.
    func appendCanonicalEncoding(to bytes: inout [UInt8]) {
        bytes.appendBigEndian(UInt16(entries.count))
        for entry in entries {
            bytes.appendBigEndian(UInt16(entry.key.utf8.count))
            bytes.append(contentsOf: entry.key.utf8)
            bytes.appendBigEndian(UInt16(entry.value.utf8.count))
            bytes.append(contentsOf: entry.value.utf8)
        }
    }

    /// The canonical encoding.
    public var canonicalEncoding: [UInt8] {
        var bytes: [UInt8] = []
        appendCanonicalEncoding(to: &bytes)
        return bytes
    }
}

extension [UInt8] {
    mutating func appendBigEndian(_ value: UInt16) {
        append(UInt8(truncatingIfNeeded: value >> 8))
        append(UInt8(truncatingIfNeeded: value))
    }
}
