import DequeModule

/// A bounded queue that serves its users in turn: whoever waits, waits for one turn of each other user at most, however much
/// those have queued.
///
/// A turn is a number of operations, not of elements: a user that sends batches gets no more done than one that sends single
/// operations. An element that is larger than what is left of the turn is taken all the same, and the user sits out as many
/// turns as it took too much. Every step costs the same however long the queue is.
package struct FairQueue<Element> {
    /// Who shares a turn: an account.
    package typealias User = UInt32

    package enum Admission: Equatable {
        case admitted
        /// The queue is full.
        case full
        /// This user has its share of the queue already; others are still admitted.
        case userIsFull
    }

    fileprivate struct Lane {
        var entries = Deque<(element: Element, weight: Int)>()
        /// What is left of the turn, in operations; negative after a large element.
        var credit = 0
    }

    /// How many may wait, of all users and of one.
    package let limit: Int
    package let limitPerUser: Int
    /// How many operations a turn has.
    private let turn: Int
    private var lanes: [User: Lane] = [:]
    /// Exactly the users that have something waiting; whose turn it is stands first.
    private var order = Deque<User>()
    package private(set) var count = 0

    /// - Parameters:
    ///   - limitPerUser: At most `limit`; half of it leaves room for others whatever one user does.
    ///   - turn: How many operations a user may take before the next one is served.
    package init(limit: Int, limitPerUser: Int, turn: Int = 16) {
        self.limit = limit
        self.limitPerUser = limitPerUser
        self.turn = turn
    }

    package var isEmpty: Bool { count == 0 }

    /// How many elements of this user wait.
    package func count(of user: User) -> Int { lanes[user]?.entries.count ?? 0 }

    /// Lets an element wait behind the others of its user.
    ///
    /// - Parameter weight: How many operations it stands for.
    package mutating func append(_ element: Element, of user: User, weight: Int = 1) -> Admission {
        guard count < limit else { return .full }
        guard count(of: user) < limitPerUser else { return .userIsFull }
        if lanes[user] == nil { order.append(user) }
        lanes[user, default: Lane(credit: turn)].entries.append((element, weight))
        count += 1
        return .admitted
    }

    /// Gives back what was taken: it is the next of all. It was admitted before, so no limit is asked.
    package mutating func prepend(_ element: Element, of user: User, weight: Int = 1) {
        if lanes[user] == nil {
            order.prepend(user)
        } else if order.first != user {
            order.removeAll { $0 == user }
            order.prepend(user)
        }
        lanes[user, default: Lane()].entries.prepend((element, weight))
        // What the taking had cost.
        let credit = lanes[user]?.credit ?? 0
        lanes[user]?.credit = Swift.max(1, credit + weight)
        count += 1
    }

    /// Lets an element that was taken wait for its user's next turn, before what that user has waiting: it has more to do. It
    /// was admitted before, so no limit is asked. What its taking cost stays paid while that user has more waiting.
    package mutating func resume(_ element: Element, of user: User, weight: Int) {
        if lanes[user] == nil { order.append(user) }
        lanes[user, default: Lane(credit: turn)].entries.prepend((element, weight))
        count += 1
    }

    /// Takes the next element.
    package mutating func popFirst() -> Element? {
        while let user = order.first {
            guard let credit = lanes[user]?.credit, credit > 0 else {
                // The turn is over, or one is sat out.
                lanes[user]?.credit += turn
                // Nobody waits but this user: nobody is served by its sitting out.
                if order.count == 1 { lanes[user]?.credit = turn }
                order.removeFirst()
                order.append(user)
                continue
            }
            guard let entry = lanes[user]?.entries.popFirst() else { return nil }
            lanes[user]?.credit -= entry.weight
            count -= 1
            if lanes[user]?.entries.isEmpty == true {
                lanes[user] = nil
                order.removeFirst()
            }
            return entry.element
        }
        return nil
    }

    /// Removes and returns the elements that meet a condition; the others keep their places. Looks at each element once.
    @discardableResult
    package mutating func removeAll(where isLeaving: (Element) throws -> Bool) rethrows -> [Element] {
        var left: [Element] = []
        for user in order {
            try lanes[user]?.entries.removeAll { entry in
                guard try isLeaving(entry.element) else { return false }
                left.append(entry.element)
                return true
            }
        }
        guard !left.isEmpty else { return left }
        count -= left.count
        lanes = lanes.filter { !$0.value.entries.isEmpty }
        order.removeAll { lanes[$0] == nil }
        return left
    }

    /// Empties the queue.
    package mutating func removeAll() -> [Element] { removeAll { _ in true } }
}

extension FairQueue: Sequence {
    /// Every element; those of one user in their order.
    package func makeIterator() -> some IteratorProtocol<Element> {
        order.lazy.flatMap { lanes[$0]?.entries ?? [] }.map(\.element).makeIterator()
    }
}

extension FairQueue: Sendable where Element: Sendable {}
extension FairQueue.Lane: Sendable where Element: Sendable {}
