import CTestSupport
import Foundation

/// Counts the lines of an audit log: the decisions by what came of them, and the blobs that they name. Reads the text as it
/// stands, so that it needs none of the daemon's own code.
struct AuditCount {
    /// Operations that were done, by name.
    private(set) var done: [String: Int] = [:]
    /// Errors, by code; denials are `denied`.
    private(set) var failed: [String: Int] = [:]
    /// SHA-256 of blobs that were made.
    private(set) var made: Set<String> = []
    private(set) var lines = 0

    init(_ paths: [String]) throws {
        for path in paths {
            let data = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
            data.withUnsafeBytes { bytes in
                var rest = bytes[...]
                while let end = Self.find("\n", rest) {
                    add(UnsafeRawBufferPointer(rebasing: rest[rest.startIndex..<rest.startIndex + end]))
                    rest = rest[(rest.startIndex + end + 1)...]
                }
            }
        }
    }

    private mutating func add(_ line: UnsafeRawBufferPointer) {
        lines += 1
        guard let operation = Self.value("operation", line), let decision = Self.value("decision", line) else { return }
        if decision == "denied" {
            failed["denied", default: 0] += 1
        } else if let error = Self.value("error", line) {
            failed[error, default: 0] += 1
        } else {
            done[operation, default: 0] += 1
            let name = operation == "rewrap" ? "new_blob_sha256" : "blob_sha256"
            if operation != "unwrap", let digest = Self.value(name, line) { made.insert(digest) }
        }
    }

    /// The string of this member. A caller's own words stand in `context` and `on_behalf_of`; the soak's have no such names.
    private static func value(_ name: String, _ line: UnsafeRawBufferPointer) -> String? {
        let start = "\"\(name)\":\""
        guard let at = find(start, line[...]) else { return nil }
        let rest = line[(at + start.utf8.count)...]
        guard let end = find("\"", rest) else { return nil }
        return String(decoding: rest[rest.startIndex..<rest.startIndex + end], as: UTF8.self)
    }

    /// Where the text begins, from the beginning of the bytes.
    private static func find(_ text: String, _ bytes: Slice<UnsafeRawBufferPointer>) -> Int? {
        let place = UnsafeRawBufferPointer(rebasing: bytes)
        guard let base = place.baseAddress else { return nil }
        var text = text
        let found = text.withUTF8 { ctest_find(base, place.count, $0.baseAddress, $0.count) }
        return found < 0 ? nil : Int(found)
    }
}
