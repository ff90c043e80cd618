import Custody
import NIOCore

/// What the connections of the event loop share: whose frame is read next, and who has taken too long.
///
/// While little comes, a connection's frames are handled as they come. Past a turn's worth the others line up, users in turn,
/// and the loop looks at its sockets between the turns. So a flood of one user, over however many connections, delays others
/// by a turn and not by the flood. It lives on the event loop.
final class Reception {
    /// A frame counts 1, and 1 more for each 4 KiB.
    private static let turn = 16
    /// How often clocks are looked at.
    private static let tick = TimeAmount.milliseconds(50)

    let budget: DoorBudget
    let log: DoorLog
    let longRequests = LongRequests()
    private let bell: Bell
    private var connections: [UInt64: ConnectionHandler] = [:]
    private var waiting = FairQueue<ConnectionHandler>(limit: .max, limitPerUser: .max, turn: 4)
    /// What was handled in this turn.
    private var spent = 0
    private var hasRung = false

    private init(_ budget: DoorBudget, _ log: DoorLog, _ bell: Bell) {
        self.budget = budget
        self.log = log
        self.bell = bell
    }

    static func open(on eventLoop: any EventLoop, _ budget: DoorBudget, _ log: DoorLog) -> EventLoopFuture<NIOLoopBound<Reception>> {
        eventLoop.flatSubmit {
            do {
                let reception = Reception(budget, log, try Bell())
                let bound = NIOLoopBound(reception, eventLoop: eventLoop)
                eventLoop.scheduleRepeatedTask(initialDelay: tick, delay: tick) { _ in bound.value.lookAtClocks() }
                return reception.bell.hang(on: eventLoop) { bound.value.work() }.map { bound }
            } catch {
                return eventLoop.makeFailedFuture(error)
            }
        }
    }

    func join(_ connection: ConnectionHandler) { connections[connection.number] = connection }

    func leave(_ connection: ConnectionHandler) { connections[connection.number] = nil }

    /// A connection has bytes that nobody has looked at.
    func offer(_ connection: ConnectionHandler) {
        while waiting.isEmpty, spent < Self.turn {
            guard let weight = connection.serveNext() else { return }
            spent += weight
        }
        // What has only begun to come is admitted at once, and its clock runs.
        if connection.wantsService { enqueue(connection) } else { _ = connection.serveNext() }
        // The next turn begins with the next look at the sockets.
        ring()
    }

    /// Lets a connection wait for its user's turn.
    func enqueue(_ connection: ConnectionHandler) {
        guard !connection.isWaiting else { return }
        connection.isWaiting = true
        _ = waiting.append(connection, of: connection.account, weight: connection.nextWeight)
        ring()
    }

    private func ring() {
        guard !hasRung else { return }
        hasRung = true
        bell.ring()
    }

    private func work() {
        hasRung = false
        spent = 0
        while spent < Self.turn, let connection = waiting.popFirst() {
            connection.isWaiting = false
            if let weight = connection.serveNext() {
                spent += weight
                // What has only begun to come is admitted at once, and its clock runs.
                if connection.wantsService { enqueue(connection) } else { _ = connection.serveNext() }
            }
            connection.settleReading()
        }
        if !waiting.isEmpty { ring() }
    }

    private func lookAtClocks() {
        let now = ContinuousClock.now
        for connection in connections.values { connection.lookAtClocks(now) }
        budget.sweep(now: now)
        log.sweep(now: now)
    }
}
