import Custody
import Dispatch
import Synchronization

/// Where long requests are decoded: on a thread of its own, users in turn. The longest takes some ten milliseconds, which
/// every client would wait if it were done on the event loop. How many wait is bounded by the memory that they have taken.
final class LongRequests: Sendable {
    /// The longest body that is decoded on the event loop: a hand-over between threads costs about as much.
    static let threshold = 16_384

    private let queue = DispatchQueue(label: "long-requests")
    private let waiting = Mutex(FairQueue<@Sendable () -> Void>(limit: .max, limitPerUser: .max))

    /// - Parameter length: Of the body; a turn is about four of the shortest.
    func run(length: Int, of account: DoorBudget.Account, _ body: @escaping @Sendable () -> Void) {
        waiting.withLock { _ = $0.append(body, of: account, weight: length / 4_096) }
        // As often as there is something; whose turn it is is seen then.
        queue.async { self.waiting.withLock { $0.popFirst() }?() }
    }
}
