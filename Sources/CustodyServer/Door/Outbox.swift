import Custody
import CustodyProtocol
import NIOCore
import Synchronization

/// Why a request as a whole is not served.
struct RequestRejection: Error {
    let code: ErrorCode
    let message: String
    var retryAfter = 0
}

/// Answers on their way from any thread to a connection's event loop. Answers that come while a delivery is on its way
/// travel with it, so that a batch costs one wake-up and one write.
final class Outbox: Sendable {
    struct Reply: Sendable {
        let requestID: UInt32
        /// What the request has taken of the budget.
        let bytes: Int
        let content: Result<CustodyReply, RequestRejection>
    }

    private let eventLoop: any EventLoop
    private let deliver: @Sendable ([Reply]) -> Void
    private let waiting = Mutex<[Reply]>([])

    init(_ eventLoop: any EventLoop, deliver: @escaping @Sendable ([Reply]) -> Void) {
        self.eventLoop = eventLoop
        self.deliver = deliver
    }

    func add(_ reply: Reply) {
        let isFirst = waiting.withLock { waiting in
            waiting.append(reply)
            return waiting.count == 1
        }
        guard isFirst else { return }
        eventLoop.execute {
            self.deliver(self.waiting.withLock { waiting in
                defer { waiting = [] }
                return waiting
            })
        }
    }
}
