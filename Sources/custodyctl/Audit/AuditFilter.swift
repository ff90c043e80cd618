import ArgumentParser
import ByteEncoding
import Custody
import Foundation
import ToolSupport

/// What `audit show` takes to choose lines.
struct AuditFilterOptions: ParsableArguments {
    @Option(help: ArgumentHelp("From this time on: 2026-11-21, 2026-11-21T08:15, RFC 3339, or 30m, 1h, 7d ago.", valueName: "time"))
    var since: String?

    @Option(help: ArgumentHelp("Before this time; a day means its beginning.", valueName: "time"))
    var until: String?

    @Option(help: ArgumentHelp("A user's name or number.", valueName: "user"))
    var user: String?

    @Option(help: ArgumentHelp("A root key's name.", valueName: "name"))
    var key: String?

    @Option(help: ArgumentHelp("The same as --context tenant=NAME.", valueName: "name"))
    var tenant: String?

    @Option(help: ArgumentHelp("An entry of the encryption context; may be repeated.", valueName: "key=value"))
    var context: [String] = []

    @Option(help: ArgumentHelp("allowed, denied, limited or rejected.", valueName: "decision"))
    var decision: String?

    @Option(help: ArgumentHelp("Such as wrap or unwrap.", valueName: "operation"))
    var operation: String?

    @Option(help: ArgumentHelp("Events of this name, such as log-begins.", valueName: "name"))
    var event: String?

    @Option(help: ArgumentHelp("The client's number of a request.", valueName: "number"))
    var request: UInt64?

    @Option(help: ArgumentHelp("Where a blob came in or went out, by the beginning of its SHA-256.", valueName: "digits"))
    var blob: String?

    @Option(name: .customLong("blob-file"), help: ArgumentHelp("The same for the blob in this file, as bytes or as text.", valueName: "file"))
    var blobFile: String?

    func validate() throws { _ = try AuditFilter(self, readsBlob: false) }
}

/// Whether a line of the log is one of those that are looked for.
struct AuditFilter {
    private var since: AuditTime?
    private var until: AuditTime?
    private var texts: [(name: String, value: String)] = []
    private var context: [String: String]
    private var user: String?
    private var event: String?
    private var request: UInt64?
    private var blobs: [String] = []

    init(_ options: AuditFilterOptions, readsBlob: Bool = true) throws {
        since = try options.since.map { try Self.time($0, "--since") }
        until = try options.until.map { try Self.time($0, "--until") }
        context = try KeyValue.dictionary(options.context, flag: "--context")
        if let tenant = options.tenant, context.updateValue(tenant, forKey: "tenant") ?? tenant != tenant {
            throw ValidationError("--tenant and --context name different tenants")
        }
        if let decision = options.decision {
            let known = ["allowed", "denied", "limited", "rejected"]
            guard known.contains(decision) else { throw ValidationError("--decision is one of \(known.joined(separator: ", "))") }
            texts.append(("decision", decision))
        }
        if let operation = options.operation {
            let known = Custody.Operation.Kind.allCases.map(\.rawValue) + ["unknown"]
            guard known.contains(operation) else { throw ValidationError("--operation is one of \(known.joined(separator: ", "))") }
            texts.append(("operation", operation))
        }
        if let key = options.key { texts.append(("key", key)) }
        user = options.user
        event = options.event
        request = options.request
        if let blob = options.blob {
            let digits = blob.lowercased()
            guard (1...64).contains(digits.utf8.count), digits.utf8.allSatisfy({ "0123456789abcdef".utf8.contains($0) }) else {
                throw ValidationError("--blob is the beginning of a SHA-256: 1 to 64 hexadecimal digits")
            }
            blobs.append(digits)
        }
        if let file = options.blobFile, readsBlob {
            let blob = try InputOutputFiles.blob(try InputOutputFiles.read(file, limit: 1_048_576, advice: "a blob is expected"))
            // SHA-256 of the blob alone.
            blobs.append(hexadecimal(AuditChain.hash(after: [], blob)))
        }
    }

    func fits(_ line: AuditLine) -> Bool {
        if let since, line.time < since { return false }
        if let until, line.time >= until { return false }
        if let event, !isSame(line.event, event) { return false }
        for (name, value) in texts where !isSame(line.text(name), value) { return false }
        if let user, !isSame(line.text("user"), user), line.number("uid").map(String.init) != user { return false }
        if let request, line.number("request") != request { return false }
        if !context.isEmpty {
            let entries = line.texts("context")
            for (key, value) in context where !entries.contains(where: { isSame($0.key, key) && isSame($0.value, value) }) { return false }
        }
        if !blobs.isEmpty {
            let digests = ["blob_sha256", "new_blob_sha256"].compactMap { line.text($0) }
            for blob in blobs where !digests.contains(where: { $0.hasPrefix(blob) }) { return false }
        }
        return true
    }

    /// Whether the bytes are the same: Swift's own equality takes canonically equivalent texts for one.
    private func isSame(_ a: String?, _ b: String) -> Bool { a.map { $0.utf8.elementsEqual(b.utf8) } ?? false }

    private static func time(_ text: String, _ flag: String) throws -> AuditTime {
        if let unit = text.last, let seconds: Int64 = ["s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800][unit],
            let count = Int64(text.dropLast()), count >= 0 {
            // Some 3,000 years, so that no product leaves its 64 bits.
            guard count <= 100_000_000_000 / seconds else { throw ValidationError("\(flag) '\(text)' is too long ago") }
            return AuditTime(microseconds: Int64(Date().timeIntervalSince1970 * 1_000_000) - count * seconds * 1_000_000)
        }
        for ending in ["", "Z", ":00Z", "T00:00:00Z"] {
            if let time = AuditTime(text + ending) { return time }
        }
        throw ValidationError("\(flag) '\(text)' is no time: give 2026-11-21, 2026-11-21T08:15, 2026-11-21T08:15:30Z, or 30m, 1h, 7d for so long ago")
    }
}
