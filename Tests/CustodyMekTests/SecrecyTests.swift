import Foundation
import MasterKey
import Testing
import TestSupport

@Suite struct SecrecyTests {
    /// Everything that the enablement of a SQLite tenant has left on the disk, in all the forms that secrets might have.
    @Test(arguments: ["wal", "delete"]) func nothingIsLeftInFiles(_ journalMode: String) async throws {
        let service = try await TenantService(.sqlite)
        try await HeldSession.run(service, "PRAGMA journal_mode = \(journalMode)")
        let run = try PausedRun(service, service.enabling)
        try await run.go(to: 3)
        let arguments = try Data(contentsOf: URL(fileURLWithPath: "/proc/\(run.process.processID)/cmdline"))
        for step in 4...10 {
            try run.goOn()
            try await run.process.line(containing: "step \(step) of 10")
        }
        try run.goOn()
        let result = try await run.process.end()
        #expect(result.status == .exited(0))
        try await service.ok("open", "\(service.tenant)", "--check")
        try await service.ok("status", "\(service.tenant)")

        var places = try Self.files(below: service.directory.path) + Self.files(below: service.daemon.token.directory.path)
        places.append(("arguments", arguments))
        places.append(("output", Data((result.output + result.errors).utf8)))
        places.append(("custodyd's output", Data((service.daemon.process.output + service.daemon.process.errors).utf8)))
        #expect(places.contains { $0.name.hasSuffix("tenants.db") && $0.content.count > 1_000 })
        for place in places {
            for form in Self.forms(service.masterKey) { #expect(!place.content.holds(form), "master key in \(place.name)") }
            // In no file of the database: neither the row, nor free pages, nor WAL or rollback journal.
            for form in Self.forms(service.firstCiphertext) { #expect(!place.content.holds(form), "first ciphertext in \(place.name)") }
        }
        // The search finds what is there.
        let blob = try await service.record().blob
        #expect(places.contains { $0.name.contains("tenants.db") && $0.content.holds(Data(blob)) })
    }

    /// PostgreSQL's table files. Its write-ahead log can't be purged by a client: there the first ciphertext may stand until
    /// it is recycled, and the deletion of its KMS key is what kills it.
    @Test func nothingIsLeftInTablesOfPostgreSQL() async throws {
        // Of its own: a transaction in any database of a cluster keeps old rows from being removed.
        let cluster = try await PostgreSQLCluster()
        let service = try await TenantService(.postgresql, cluster: cluster)
        let run = try await service.enable()
        #expect(!run.output.contains("note:"), "\(run.output)")
        try await HeldSession.run(service, "CHECKPOINT")
        let places = try Self.files(below: cluster.dataFolder)
        let tables = places.filter { $0.name.contains("/base/") }
        let blob = try await service.record().blob
        #expect(tables.contains { $0.content.holds(Data(blob)) })
        for place in places {
            for form in Self.forms(service.masterKey) { #expect(!place.content.holds(form), "master key in \(place.name)") }
        }
        for place in tables {
            for form in Self.forms(service.firstCiphertext) { #expect(!place.content.holds(form), "first ciphertext in \(place.name)") }
        }
    }

    /// While it is needed the master key is in the process' memory, afterwards in no form and nowhere.
    @Test(.enabled(if: getuid() == 0, "only root may read the memory of a process that is not dumpable"))
    func nothingStaysInMemory() async throws {
        let service = try await TenantService(.sqlite)
        let run = try PausedRun(service, service.enabling)
        try await run.go(to: 3)
        #expect(try ProcessMemory(run.process.processID).count(of: service.masterKey) > 0, "the search itself works")
        for step in 4...10 {
            try run.goOn()
            try await run.process.line(containing: "step \(step) of 10")
        }
        // It waits for Enter, the connections to KMS, daemon and database open.
        let memory = try ProcessMemory(run.process.processID)
        for form in Self.forms(service.masterKey) { #expect(try memory.count(of: Array(form)) == 0) }
        try run.goOn()
        try await run.process.end()
    }

    /// No error repeats a secret, whatever fails.
    @Test func errorsTellNothing() async throws {
        let service = try await TenantService(.sqlite)
        for operation in ["Decrypt", "CreateKey", "Encrypt", "ScheduleKeyDeletion"] {
            service.proxy.on(operation, .error("KMSInternalException", message: "internal"))
            let result = try await service.mek(service.enabling)
            #expect(result.status != .exited(0))
            service.proxy.reset()
            let said = Data((result.output + result.errors).utf8)
            for form in Self.forms(service.masterKey) { #expect(!said.holds(form), "\(operation)") }
        }
    }

    /// As bytes, as base64 at each of its three offsets, and as hexadecimal digits of both cases.
    private static func forms(_ secret: [UInt8]) -> [Data] {
        let base64 = (0..<3).map { offset in
            let encoded = Data(Array(repeating: 0, count: offset) + secret).base64EncodedString().filter { $0 != "=" }
            // Without the characters that depend on what stands around it.
            return Data(encoded.dropFirst(4).dropLast(4).utf8)
        }
        let hexadecimal = secret.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        return [Data(secret), Data(hexadecimal.utf8), Data(hexadecimal.uppercased().utf8)] + base64
    }

    private static func files(below path: String) throws -> [(name: String, content: Data)] {
        guard let names = FileManager.default.enumerator(atPath: path) else { throw POSIXFailure("open \(path)") }
        var files: [(String, Data)] = []
        for case let name as String in names {
            let file = "\(path)/\(name)"
            let type = try? FileManager.default.attributesOfItem(atPath: file)[.type] as? FileAttributeType
            guard type == .typeRegular, let content = try? Data(contentsOf: URL(fileURLWithPath: file)) else { continue }
            files.append((file, content))
        }
        return files
    }
}
