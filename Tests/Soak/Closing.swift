import ByteEncoding
import Crypto
import CustodyClient
import CustodyProtocol
import Foundation
import SecureMemory
import TestSupport

/// The last word: nothing disturbs any more, the daemon was started anew, and everything that was ever acknowledged is there.
struct Closing: Sendable {
    let site: Site
    let host: Host
    let judge: Judge

    private var book: Book { judge.book }

    func run() async throws {
        let client = CustodyClient(.init(socket: site.socket, connections: 2, deadline: .seconds(30)))
        try await eventually("service at the end", within: .seconds(120)) { await client.perform(.wrap(.init([1]), key: "root", context: [:])).isDone }
        try await openEverything(client)
        try await countUses(client)
        await client.shutdown()
        try await host.stop()
        try await proveLog()
    }

    // MARK: Blobs

    private func openEverything(_ client: CustodyClient) async throws {
        let all = judge.treasury.all
        let size = 32
        for start in stride(from: 0, to: all.count, by: size) {
            let kept = Array(all[start..<min(start + size, all.count)])
            let results = try await client.batch(kept.map(\.opening))
            for (item, result) in zip(kept, results) { check(item, result) }
        }
        book.count("kept blobs", all.count)
    }

    private func check(_ kept: Kept, _ result: Judge.Outcome) {
        let title = "a blob of \(kept.key)/\(kept.version) with \(kept.plaintext.count) bytes"
        switch result {
        case .failure(let error): book.violation(.lost, "\(title): \(error)")
        case .success(.unwrapped(let opened)) where opened.plaintext.exposed() == kept.plaintext: book.count("opened at the end")
        case .success(.decrypted(let plaintext)) where plaintext.exposed() == kept.plaintext: book.count("opened at the end")
        case .success: book.violation(.wrong, "\(title) opens to something else")
        }
    }

    // MARK: Uses

    /// The daemon may count more, never less.
    private func countUses(_ client: CustodyClient) async throws {
        let status = try await client.status()
        var counted: [String: Int] = [:]
        for key in status.keys {
            for version in key.versions { counted["\(key.name)/\(version.version)"] = Int(version.uses) }
        }
        for (version, uses) in book.counts("used ") where counted[version, default: 0] < uses {
            book.violation(.wrong, "\(uses) uses of \(version), and the daemon counts \(counted[version, default: 0])")
        }
    }

    // MARK: The audit log

    private func proveLog() async throws {
        do {
            try await site.custodyctl("audit", "verify", "--from-start")
        } catch {
            book.violation(.wrong, "the audit log is not whole: \(error)")
        }
        let log = try AuditCount(try site.auditFiles())
        book.count("lines of the audit log", log.lines)
        for (name, count) in book.counts("acknowledged ") {
            let lines = log.done[name] ?? log.failed[name] ?? 0
            if lines < count { book.violation(.wrong, "\(count) answers of \(name), and \(lines) lines in the audit log") }
        }
        var unrecorded = 0
        for kept in judge.treasury.all {
            guard case .blob(let blob, _) = kept.form else { continue }
            if !log.made.contains(hexadecimal(Array(SHA256.hash(data: blob)))) { unrecorded += 1 }
        }
        if unrecorded > 0 { book.violation(.wrong, "the audit log does not say who made \(unrecorded) of the blobs") }
    }
}

extension Result where Success == CustodyClient.Answer, Failure == CustodyClientError {
    var isDone: Bool { if case .success = self { true } else { false } }
}
