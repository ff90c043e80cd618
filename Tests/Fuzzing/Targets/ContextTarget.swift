import Custody

/// The encryption context: what is within the limits is taken, and no two contexts have one encoding, or a blob of one
/// tenant would open for another.
///
/// The entries are separated by line feeds, a key from its value by the first `=`. Two contexts are separated by a byte FF.
enum ContextTarget: FuzzTarget {
    static let name = "context"

    static func run(_ bytes: [UInt8]) throws {
        let halves = bytes.split(separator: 0xFF, maxSplits: 1, omittingEmptySubsequences: false)
        let contexts = try halves.map { try context(entries(Array($0))) }
        guard let first = contexts.first ?? nil, contexts.count == 2, let second = contexts[1] else { return }
        let areEqual = content(first) == content(second)
        try require((first == second) == areEqual, "== is not by bytes")
        try require((first.canonicalEncoding == second.canonicalEncoding) == areEqual, "two contexts have one encoding, or one has two")
        try require(!areEqual || first.hashValue == second.hashValue, "one context has two hashes")
    }

    /// What holds for every context: it can be read back from its encoding, so no other one has the same.
    static func check(_ context: EncryptionContext) throws {
        let limits = CustodyLimits.self
        let content = content(context)
        try require(content.count <= limits.contextEntries, "it has \(content.count) entries")
        for (key, value) in content.map({ ($0[0], $0[1]) }) {
            try require((1...limits.contextKey).contains(key.count) && value.count <= limits.contextValue, "an entry is too long")
        }
        for (first, second) in zip(content, content.dropFirst()) {
            try require(first[0].lexicographicallyPrecedes(second[0]), "the keys are not in order")
        }
        try require(decode(context.canonicalEncoding) == content, "the encoding says something else")
    }

    private static func context(_ entries: [EncryptionContext.Entry]) throws -> EncryptionContext? {
        let limits = CustodyLimits.self
        let keys = entries.map { Array($0.key.utf8) }
        let isGood = entries.count <= limits.contextEntries && Set(keys).count == keys.count
            && keys.allSatisfy { (1...limits.contextKey).contains($0.count) }
            && entries.allSatisfy { $0.value.utf8.count <= limits.contextValue }
        let context: EncryptionContext
        let reversed: EncryptionContext
        do throws(CustodyError) {
            context = try EncryptionContext(entries)
            reversed = try EncryptionContext(entries.reversed())
        } catch {
            try require(!isGood && error.code == .invalidContext, "refused: \(error)")
            return nil
        }
        try require(isGood, "it should have been refused")
        try require(context.canonicalEncoding == reversed.canonicalEncoding, "the order of the entries matters")
        try check(context)
        return context
    }

    private static func entries(_ bytes: [UInt8]) -> [EncryptionContext.Entry] {
        bytes.split(separator: 0x0A).map { line in
            let parts = line.split(separator: 0x3D, maxSplits: 1, omittingEmptySubsequences: false)
            return .init(key: Array(parts[0]).text, value: Array(parts.dropFirst().first ?? []).text)
        }
    }

    private static func content(_ context: EncryptionContext) -> [[[UInt8]]] {
        context.entries.map { [Array($0.key.utf8), Array($0.value.utf8)] }
    }

    /// nil if it is no encoding.
    private static func decode(_ bytes: [UInt8]) -> [[[UInt8]]]? {
        var rest = bytes[...]
        func number() -> Int? {
            guard rest.count >= 2 else { return nil }
            defer { rest = rest.dropFirst(2) }
            return rest.prefix(2).reduce(0) { $0 << 8 | Int($1) }
        }
        func string() -> [UInt8]? {
            guard let length = number(), rest.count >= length else { return nil }
            defer { rest = rest.dropFirst(length) }
            return Array(rest.prefix(length))
        }
        guard let count = number() else { return nil }
        var content: [[[UInt8]]] = []
        for _ in 0..<count {
            guard let key = string(), let value = string() else { return nil }
            content.append([key, value])
        }
        return rest.isEmpty ? content : nil
    }
}
