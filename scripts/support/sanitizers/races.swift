// What ThreadSanitizer must find, and what it must not: `races` and nothing, or `races plain`.
import Foundation
import Synchronization

/// Unchecked, since a race is what it is for.
final class Shared: @unchecked Sendable {
    let locked = Mutex(0)
    let atomic = Atomic(0)
    var handedOver = 0
    var plain = 0
}

@main struct Races {
    static func main() async {
        let shared = Shared()
        count(shared, isPlain: CommandLine.arguments.contains("plain"))
        handOver(shared)
        for round in 0..<20 { await resume(shared, early: round % 2 == 0) }
        print(shared.locked.withLock { $0 }, shared.atomic.load(ordering: .relaxed), shared.handedOver, shared.plain)
    }

    /// Under a lock for which the threads have to wait, by an atomic, and, if wanted, by nothing.
    private static func count(_ shared: Shared, isPlain: Bool) {
        let done = DispatchSemaphore(value: 0)
        for _ in 0..<4 {
            Thread {
                for _ in 0..<100_000 {
                    shared.locked.withLock { $0 += 1 }
                    shared.atomic.wrappingAdd(1, ordering: .relaxed)
                    if isPlain { shared.plain += 1 }
                }
                done.signal()
            }.start()
        }
        for _ in 0..<4 { done.wait() }
    }

    /// To another thread and back by semaphores, and by a queue.
    private static func handOver(_ shared: Shared) {
        let there = DispatchSemaphore(value: 0)
        let back = DispatchSemaphore(value: 0)
        Thread {
            for _ in 0..<10_000 {
                there.wait()
                shared.handedOver += 1
                back.signal()
            }
        }.start()
        for _ in 0..<10_000 {
            shared.handedOver += 1
            there.signal()
            back.wait()
        }
        let queue = DispatchQueue(label: "races")
        queue.async { shared.handedOver += 1 }
        queue.sync { shared.handedOver += 1 }
    }

    /// By a continuation that is resumed before the task waits for it, or while it does.
    private static func resume(_ shared: Shared, early: Bool) async {
        await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
            Thread {
                if !early { usleep(20_000) }
                shared.handedOver += 1
                continuation.resume()
            }.start()
            if early { usleep(20_000) }
        }
        shared.handedOver += 1
    }
}
