import Foundation
import Logging
@testable import PKCS11
import TestSupport
import Testing

@testable import Custody

@Suite struct UsageLedgerTests {
    private let folder: TemporaryDirectory
    private let log = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    private var path: String { folder.file("state") }
    private var file: String { folder.file("state/key-usage.json") }

    init() throws { folder = try TemporaryDirectory() }

    private func key(_ id: KeyID = KeyID(newFor: 1)) -> KeyVersion {
        KeyVersion(name: "root", id: id, state: .active, exception: nil, object: ObjectHandle(rawValue: 1))
    }

    /// Opens the ledger, lends it, and lets the folder go again, with or without a clean end.
    private func withLedger<R>(limit: UInt64 = 1 << 32, crash: Bool = false, _ body: (UsageLedger) throws -> R) throws -> R {
        let ledger = try UsageLedger(StateDirectory(path), limit: limit, log: log)
        let result = try body(ledger)
        if !crash { ledger.close() }
        return result
    }

    @Test func aCleanEndKeepsTheExactCount() throws {
        let key = key()
        for round in 1...3 {
            try withLedger { ledger in
                for _ in 0..<100 { try ledger.countEncryption(with: key) }
                #expect(ledger.usage[key.id]?.uses == UInt64(round * 100))
                #expect(ledger.usage[key.id]?.lastEncrypted != nil)
            }
        }
    }

    /// The number goes into the nonce: none may come twice, however a life ends.
    @Test func noNumberComesTwice() throws {
        let key = key()
        var numbers: [UInt64] = []
        for round in 0..<8 {
            try withLedger(crash: round % 2 == 0) { ledger in
                for _ in 0..<70 { numbers.append(try ledger.countEncryption(with: key)) }
            }
        }
        #expect(Set(numbers).count == 560)
        #expect(numbers == numbers.sorted())
    }

    @Test(arguments: [1, 63, 64, 65, 191, 192, 193, 1_000]) func aCrashOnlyCountsTooMany(_ uses: Int) throws {
        let key = key()
        var counted: UInt64 = 0
        for _ in 1...4 {
            let before = counted
            try withLedger(crash: true) { ledger in
                #expect((ledger.usage[key.id]?.uses ?? 0) >= before)
                for _ in 0..<uses { try ledger.countEncryption(with: key) }
                counted = try #require(ledger.usage[key.id]?.uses)
                #expect(counted >= before + UInt64(uses))
                // Not more than twice what was used, and the smallest reservation.
                #expect(counted <= before + UInt64(uses) + 2 * max(64, UInt64(uses)))
            }
        }
    }

    @Test func theLimitHoldsOverCrashes() throws {
        let key = key()
        var done = 0
        for _ in 0..<50 {
            try withLedger(limit: 1_000, crash: true) { ledger in
                for _ in 0..<70 {
                    do throws(CustodyError) {
                        try ledger.countEncryption(with: key)
                        done += 1
                    } catch {
                        #expect(error.code == .keyExhausted)
                        #expect(error.message.contains("custodyctl key rotate root"))
                    }
                }
            }
        }
        #expect((70...1_000).contains(done))
        try withLedger(limit: 1_000) { ledger in
            try expectError(.keyExhausted) { () throws(CustodyError) in try ledger.countEncryption(with: key) }
            // Another version has a count of its own.
            try ledger.countEncryption(with: self.key(KeyID(newFor: 2)))
        }
    }

    @Test func manyThreadsLoseNoCount() throws {
        let key = key()
        try withLedger { ledger in
            DispatchQueue.concurrentPerform(iterations: 8) { _ in
                for _ in 0..<1_000 { _ = try? ledger.countEncryption(with: key) }
            }
            #expect(ledger.usage[key.id]?.uses == 8_000)
        }
    }

    @Test func aCountThatCannotBeWrittenIsNotUsed() throws {
        let key = key()
        try withLedger { ledger in
            try ledger.countEncryption(with: key)
            // What the new file is written to is a folder now.
            try FileManager.default.createDirectory(atPath: file + ".new", withIntermediateDirectories: false)
            for _ in 1..<64 { try ledger.countEncryption(with: key) }
            for _ in 0..<3 {
                let error = try expectError(.stateUnavailable) { () throws(CustodyError) in try ledger.countEncryption(with: key) }
                #expect(error.cause?.contains("key-usage.json.new") == true)
            }
            #expect(ledger.usage[key.id]?.uses == 64)
            try FileManager.default.removeItem(atPath: file + ".new")
            try ledger.countEncryption(with: key)
            #expect(ledger.usage[key.id]?.uses == 65)
        }
    }

    @Test(arguments: ["", "{", "{\"format\":2,\"versions\":{}}", "{\"format\":1,\"versions\":{\"xyz\":{\"uses\":1,\"rewrapped\":0}}}", "{\"format\":1,\"versions\":{\"00\":{\"uses\":-1,\"rewrapped\":0}}}"])
    func aDamagedFileIsNotTakenForZero(_ content: String) throws {
        _ = try StateDirectory(path)
        try content.write(toFile: file, atomically: true, encoding: .utf8)
        let error = try expectError(.stateUnavailable) { () throws(CustodyError) in
            _ = try UsageLedger(StateDirectory(path), limit: 10, log: log)
        }
        #expect(error.message.contains(file))
        #expect(error.message.contains("rotate every key"))
    }

    @Test func oneDaemonPerDirectory() throws {
        let first = try StateDirectory(path)
        try expectError(.stateUnavailable) { () throws(CustodyError) in try StateDirectory(path) }
        withExtendedLifetime(first) {}
        try expectError(.stateUnavailable) { () throws(CustodyError) in try StateDirectory(folder.file("no/such/folder")) }
        try "file".write(toFile: folder.file("file"), atomically: true, encoding: .utf8)
        try expectError(.stateUnavailable) { () throws(CustodyError) in try StateDirectory(folder.file("file")) }
    }
}
