import Dispatch
import Foundation
import Logging
import PKCS11
import Synchronization
import TestSupport
import Testing

@testable import Custody

/// What the pool does while a call into the HSM hangs; no HSM is needed for that.
@Suite struct TokenPoolTests {
    /// Hangs until it is let go, as a call does when the network swallows it.
    private final class Hanging: TokenWork {
        let deadline: ContinuousClock.Instant
        let weight = 1
        let user: UInt32
        var isWaiting: Bool { seen.isEmpty }
        let isLetGo = DispatchSemaphore(value: 0)
        let events = Mutex<[String]>([])

        init(_ patience: Duration, user: UInt32 = 1) {
            deadline = .now + patience
            self.user = user
        }

        func run(_ worker: inout TokenWorker, atMost operations: Int) {
            events.withLock { $0.append("run") }
            isLetGo.wait()
        }

        static func settle(_ batch: [Hanging]) { for work in batch { work.events.withLock { $0.append("settled") } } }
        func expire() { events.withLock { if $0.last != "expired" { $0.append("expired") } } }
        func abandon() { events.withLock { $0.append("abandoned") } }
        var seen: [String] { events.withLock { $0 } }
    }

    /// Many operations, or one; tells of each slice.
    private final class Sliced: TokenWork {
        let deadline = ContinuousClock.Instant.now + .seconds(3_600)
        let user: UInt32
        private let left: Mutex<Int>
        private let tell: @Sendable (UInt32, Int) -> Void

        init(_ operations: Int, user: UInt32, tell: @escaping @Sendable (UInt32, Int) -> Void) {
            left = Mutex(operations)
            self.user = user
            self.tell = tell
        }

        var weight: Int { left.withLock { $0 } }
        var isWaiting: Bool { weight > 0 }

        func run(_ worker: inout TokenWorker, atMost operations: Int) {
            let slice = min(operations, weight)
            tell(user, slice)
            left.withLock { $0 -= slice }
        }

        static func settle(_ batch: [Sliced]) {}
        func expire() {}
        func abandon() {}
    }

    private func pool<Work>(_ workers: Int, queueLimit: Int) -> TokenPool<Work> {
        let settings = TokenSettings(module: "/nonexistent", uri: TokenURI(label: "none"), pin: PINSource(path: "/nonexistent"))
        let connection = TokenConnection(
            settings, catalog: KeyCatalog(), lookInterval: .seconds(3_600),
            log: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        return TokenPool(connection, workers: workers, queueLimit: queueLimit)
    }

    /// Whoever comes while a batch of another user is done waits for a slice of it.
    @Test func aBatchIsDoneInSlices() async throws {
        let slices = Mutex<[String]>([])
        let mayGoOn = DispatchSemaphore(value: 0)
        let pool: TokenPool<Sliced> = pool(1, queueLimit: 10)
        pool.start()
        try pool.submit(Sliced(40, user: 1) { user, count in
            let isFirst = slices.withLock {
                $0.append("\(user): \(count)")
                return $0.count == 1
            }
            if isFirst { mayGoOn.wait() }
        })
        try await eventually("its first slice") { slices.withLock { !$0.isEmpty } }
        for user: UInt32 in [2, 3] { try pool.submit(Sliced(1, user: user) { user, count in slices.withLock { $0.append("\(user): \(count)") } }) }
        mayGoOn.signal()
        pool.stop(drainingFor: .seconds(3_600))
        #expect(slices.withLock { $0 } == ["1: 16", "2: 1", "3: 1", "1: 16", "1: 8"])
    }

    @Test func deadlinesAndTheEndAreKeptWhileAWorkerHangs() async throws {
        let pool: TokenPool<Hanging> = pool(1, queueLimit: 2)
        pool.start()
        // On a slow machine the deadline may pass before a worker has begun: then another one is tried, with more patience.
        var patience = Duration.milliseconds(1)
        var hanging = Hanging(patience)
        repeat {
            hanging = Hanging(patience)
            try pool.submit(hanging)
            try await eventually("its deadline") { [hanging] in hanging.seen.last == "expired" }
            patience *= 2
        } while !hanging.seen.contains("run")
        #expect(hanging.seen.suffix(2) == ["run", "expired"])
        let waiting = Hanging(.seconds(3_600))
        let late = Hanging(.zero, user: 2)
        try pool.submit(waiting)
        try pool.submit(late)
        try await eventually("the deadline of what waits") { late.seen == ["expired"] }
        // What is answered makes room, also while the worker hangs.
        let inItsPlace = Hanging(.seconds(3_600), user: 2)
        try await eventually("room") { (try? pool.submit(inItsPlace)) != nil }
        try expectError(.overloaded) { () throws(CustodyError) in try pool.submit(Hanging(.seconds(1), user: 3)) }
        pool.stop(drainingFor: .zero)
        #expect(waiting.seen == ["abandoned"])
        #expect(inItsPlace.seen == ["abandoned"])
        try expectError(.shuttingDown) { () throws(CustodyError) in try pool.submit(Hanging(.seconds(1))) }
        for work in [hanging, waiting, late, inItsPlace] { work.isLetGo.signal() }
        try await eventually("the worker's end") { [hanging] in hanging.seen.contains("settled") }
    }
}
