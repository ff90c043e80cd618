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
    static func main() {
        let isPlain = CommandLine.arguments.contains("plain")
        let shared = Shared()
        let done = DispatchSemaphore(value: 0)
        // Under a lock for which the threads have to wait, and by an atomic.
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
        // Handed to another thread and back by semaphores, and by a queue.
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
        print(shared.locked.withLock { $0 }, shared.atomic.load(ordering: .relaxed), shared.handedOver, shared.plain)
    }
}
