import SecureMemory
import Synchronization
import TestSupport
import Testing

@testable import MasterKey

@Suite struct MasterKeyCacheTests {
    private let acme: TenantName
    private let globex: TenantName

    init() throws {
        acme = try TenantName("acme")
        globex = try TenantName("globex")
    }

    /// Counts openings, and holds them up for as long as the test wants.
    private final class Source: Sendable {
        private let opened = Mutex(0)
        var count: Int { opened.withLock { $0 } }

        func open(_ tenant: TenantName) -> OpenedMasterKey {
            opened.withLock { $0 += 1 }
            return OpenedMasterKey(tenant: tenant, id: Identifier(), bytes: LockedBytes([1, 2, 3]))
        }
    }

    /// A gate that tasks wait at.
    private actor Gate {
        private var isOpen = false
        private var waiters: [CheckedContinuation<Void, Never>] = []
        private(set) var arrived = 0

        func pass() async {
            arrived += 1
            if !isOpen { await withCheckedContinuation { waiters.append($0) } }
        }

        func open() {
            isOpen = true
            for waiter in waiters { waiter.resume() }
            waiters = []
        }
    }

    private func isLive(_ key: OpenedMasterKey) -> Bool { (try? key.withBytes { $0.byteCount }) == 3 }

    @Test func isOpenedOnce() async throws {
        let cache = MasterKeyCache(.init()), source = Source()
        let first = try await cache.key(of: acme) { source.open(acme) }
        for _ in 0..<100 { #expect(try await cache.key(of: acme) { source.open(acme) } === first) }
        #expect(source.count == 1)
        _ = try await cache.key(of: globex) { source.open(globex) }
        #expect(source.count == 2)
    }

    @Test func usesAreBounded() async throws {
        let cache = MasterKeyCache(.init(uses: 3)), source = Source()
        for _ in 0..<9 { _ = try await cache.key(of: acme) { source.open(acme) } }
        #expect(source.count == 3)
    }

    @Test func ageIsBoundedAndTheKeyGoesByItself() async throws {
        let cache = MasterKeyCache(.init(age: .milliseconds(20))), source = Source()
        weak var first: OpenedMasterKey?
        do { first = try await cache.key(of: acme) { source.open(acme) } }
        // Nobody asks for it any more.
        try await eventually("the key's end") { first == nil }
        _ = try await cache.key(of: acme) { source.open(acme) }
        #expect(source.count == 2)
    }

    @Test func useDoesNotProlong() async throws {
        let cache = MasterKeyCache(.init(age: .milliseconds(20))), source = Source()
        try await eventually("the second opening") {
            _ = try await cache.key(of: acme) { source.open(acme) }
            return source.count >= 2
        }
    }

    @Test func theOldestGoesFirst() async throws {
        let cache = MasterKeyCache(.init(keys: 2)), source = Source()
        let initech = try TenantName("initech")
        for tenant in [acme, globex, initech] { _ = try await cache.key(of: tenant) { source.open(tenant) } }
        #expect(source.count == 3)
        for tenant in [globex, initech] { _ = try await cache.key(of: tenant) { source.open(tenant) } }
        #expect(source.count == 3)
        _ = try await cache.key(of: acme) { source.open(acme) }
        #expect(source.count == 4)
    }

    @Test func manyWaitForOneOpening() async throws {
        let cache = MasterKeyCache(.init()), source = Source(), gate = Gate()
        try await withThrowingTaskGroup(of: OpenedMasterKey.self) { group in
            for _ in 0..<50 {
                group.addTask { [acme] in
                    try await cache.key(of: acme) {
                        await gate.pass()
                        return source.open(acme)
                    }
                }
            }
            try await eventually("an opening") { await gate.arrived == 1 }
            await gate.open()
            var keys: [OpenedMasterKey] = []
            for try await key in group { keys.append(key) }
            #expect(keys.count == 50 && keys.allSatisfy { $0 === keys[0] })
        }
        #expect(source.count == 1)
    }

    @Test func failureIsNotKeptAndReachesAllWhoWait() async throws {
        let cache = MasterKeyCache(.init()), source = Source()
        let error = await #expect(throws: MasterKeyError.self) {
            try await cache.key(of: acme) { () async throws(MasterKeyError) in throw MasterKeyError(.rootKeyNotUsable, "disabled") }
        }
        #expect(error?.code == .rootKeyNotUsable)
        #expect(isLive(try await cache.key(of: acme) { source.open(acme) }))
    }

    @Test func cancelledOpeningFailsNobodyElse() async throws {
        let cache = MasterKeyCache(.init()), source = Source(), gate = Gate()
        let acme = acme
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                do {
                    _ = try await cache.key(of: acme) { () async throws(MasterKeyError) in
                        await gate.pass()
                        throw MasterKeyError(.cancelled, "cancelled")
                    }
                    return false
                } catch { return (error as? MasterKeyError)?.code == .cancelled }
            }
            try await eventually("the first") { await gate.arrived == 1 }
            for _ in 0..<5 {
                group.addTask {
                    _ = try await cache.key(of: acme) { source.open(acme) }
                    return true
                }
            }
            await gate.open()
            for try await isRight in group { #expect(isRight) }
        }
        #expect(source.count == 1)
    }

    @Test func dropForgetsAtOnceAlsoForHolders() async throws {
        let cache = MasterKeyCache(.init()), source = Source()
        let key = try await cache.key(of: acme) { source.open(acme) }
        let other = try await cache.key(of: globex) { source.open(globex) }
        cache.drop(acme)
        #expect(!isLive(key) && isLive(other))
        #expect(isLive(try await cache.key(of: acme) { source.open(acme) }))
        cache.dropAll()
        #expect(!isLive(other))
        #expect(source.count == 3)
    }

    @Test func openingThatWasDroppedIsNotKept() async throws {
        let cache = MasterKeyCache(.init()), source = Source(), gate = Gate()
        let acme = acme
        async let first = cache.key(of: acme) {
            await gate.pass()
            return source.open(acme)
        }
        try await eventually("the first") { await gate.arrived == 1 }
        cache.drop(acme)
        let second = try await cache.key(of: acme) { source.open(acme) }
        await gate.open()
        do {
            _ = try await first
            Issue.record("a key that was dropped while it was opened was handed out")
        } catch {
            #expect((error as? MasterKeyError)?.code == .masterKeyDropped)
        }
        #expect(try await cache.key(of: acme) { source.open(acme) } === second)
        #expect(source.count == 2)
    }

    @Test func usedUpEntriesLeaveNothingBehind() async throws {
        let cache = MasterKeyCache(.init(uses: 2)), source = Source()
        for _ in 0..<10_000 { _ = try await cache.key(of: acme) { source.open(acme) } }
        #expect(source.count == 5_000)
        #expect(cache.placesHeld <= 200)
    }
}
