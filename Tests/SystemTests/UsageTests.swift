import CustodyClient
import CustodyProtocol
import Foundation
import SecureMemory
import TestSupport
import Testing

/// The count of uses per key version, in a daemon that is killed.
@Suite struct UsageTests {
    private func version(_ client: CustodyClient, _ number: UInt32 = 1) async throws -> WireKeyVersionReport {
        let status = try await client.status()
        return try #require(status.keys.first { $0.name == "root" }?.versions.first { $0.version == number })
    }

    @Test func killsOnlyCountTooMany() async throws {
        var daemon = try await RunningDaemon.start()
        var done: UInt64 = 0
        for _ in 0..<4 {
            try await daemon.withClient { client in
                let before = try await version(client).uses
                #expect(before >= done)
                for _ in 0..<30 { _ = try await client.wrap(SecretBytes([1]), key: "root") }
                _ = try await client.generateDataKey(key: "root")
                _ = try await client.encrypt(SecretBytes([1]), key: "root", aad: [])
                #expect(try await version(client).uses == before + 32)
                done += 32
            }
            daemon.process.signal(SIGKILL)
            try await daemon.process.end()
            daemon = try await daemon.again()
        }
        let counted = try await daemon.withClient { try await version($0).uses }
        #expect((done...done + 4 * 64).contains(counted))
        // A clean end loses and adds nothing.
        daemon.process.signal(SIGTERM)
        try await daemon.process.end()
        daemon = try await daemon.again()
        #expect(try await daemon.withClient { try await version($0).uses } == counted)
    }

    @Test func warningAtHalfRefusalAtTheEndRotationHelps() async throws {
        let daemon = try await RunningDaemon.start(keys: "uses-per-version = 100")
        try await daemon.withClient { client in
            var blobs: [[UInt8]] = []
            for _ in 0..<49 { blobs.append(try await client.wrap(SecretBytes([1]), key: "root").blob) }
            #expect(try await version(client).detail.isEmpty)
            blobs.append(try await client.wrap(SecretBytes([1]), key: "root").blob)
            #expect(try await version(client).detail.contains("50 times of 100"))
            try await daemon.process.line(containing: "half as often as its nonces allow")
            // Opening is no use in this sense.
            for blob in blobs { _ = try await client.unwrap(blob) }
            for _ in 0..<50 { _ = try await client.wrap(SecretBytes([1]), key: "root") }
            await expectError(.server(.keyExhausted)) { try await client.wrap(SecretBytes([1]), key: "root") }
            await expectError(.server(.keyExhausted)) { try await client.rewrap(blobs[0]) }
            await expectError(.server(.keyExhausted)) { try await client.generateDataKey(key: "root") }
            _ = try await client.unwrap(blobs[0])
            let rotated = try await run("custodyctl", arguments: ["key", "rotate", "root", "--config", daemon.configurationFile])
            #expect(rotated.status == .exited(0), "\(rotated.errors)")
            // A full version does not look for a newer one by itself; the keeper's look finds it.
            try await eventually("the new version") { (try? await client.wrap(SecretBytes([1]), key: "root"))?.keyVersion == 2 }
            #expect(try await client.rewrap(blobs[0]).keyVersion == 2)
            let old = try await version(client, 1)
            #expect(old.uses == 100)
            #expect(old.rewrapped == 1)
            #expect(old.lastDecryptedMs >= old.lastEncryptedMs)
            #expect(!old.wraps)
            #expect(try await version(client, 2).wraps)
        }
        let refused = try daemon.audit().filter { $0["error"] as? String == "key-exhausted" }
        #expect(refused.count >= 3)
    }

    @Test func aFullStateDirectoryStopsWrappingAndNothingElse() async throws {
        let daemon = try await RunningDaemon.start()
        let blocked = daemon.token.directory.file("state/key-usage.json.new")
        try await daemon.withClient { client in
            let blob = try await client.wrap(SecretBytes([1]), key: "root").blob
            try FileManager.default.createDirectory(atPath: blocked, withIntermediateDirectories: false)
            for _ in 1..<64 { _ = try await client.wrap(SecretBytes([1]), key: "root") }
            let refused = try await client.batch([.wrap(SecretBytes([1]), key: "root", context: [:]), .unwrap(blob, context: [:])])
            if case .failure(let error) = refused[0] { #expect(error.code == .server(.stateUnavailable)) } else { Issue.record("wrapped") }
            if case .failure(let error) = refused[1] { Issue.record(error) }
            try FileManager.default.removeItem(atPath: blocked)
            _ = try await client.wrap(SecretBytes([1]), key: "root")
        }
    }

    @Test func changesOfKeysStandInTheAuditLogWhoeverMadeThem() async throws {
        var daemon = try await RunningDaemon.start()
        try await eventually("the first key") { try daemon.events("key").count == 1 }
        try await daemon.setRootKey(usable: false)
        try await eventually("the change") { try daemon.events("key").count == 2 }
        // What happens while no daemon runs is seen by the next one; what did not change is not told of again.
        daemon.process.signal(SIGTERM)
        try await daemon.process.end()
        try await daemon.setRootKey(usable: true)
        daemon = try await daemon.again()
        try await eventually("the second change") { try daemon.events("key").count == 3 }
        try await daemon.destroyRootKey()
        try await eventually("the removal") { try daemon.events("key").count == 4 }
        let changes = try daemon.events("key").map { "\($0["from"] ?? "") to \($0["to"] ?? "")" }
        #expect(changes == ["absent to active", "active to disabled", "disabled to active", "active to absent"])
        #expect(try daemon.events("key").allSatisfy { $0["key"] as? String == "root" && $0["version"] as? Int == 1 })
    }
}
