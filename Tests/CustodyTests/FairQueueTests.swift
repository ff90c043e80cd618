import Testing

@testable import Custody

/// Who is served next, and who is not let in.
@Suite struct FairQueueTests {
    /// What comes out, to the end.
    private func drain<Element>(_ queue: inout FairQueue<Element>) -> [Element] {
        var all: [Element] = []
        while let next = queue.popFirst() { all.append(next) }
        return all
    }

    @Test func oneUserIsServedInOrder() {
        var queue = FairQueue<Int>(limit: 100, limitPerUser: 100, turn: 4)
        for number in 0..<50 { #expect(queue.append(number, of: 7) == .admitted) }
        #expect(queue.count == 50)
        #expect(Array(queue) == Array(0..<50))
        #expect(drain(&queue) == Array(0..<50))
        #expect(queue.isEmpty)
        #expect(queue.popFirst() == nil)
    }

    @Test func usersTakeTurns() {
        var queue = FairQueue<String>(limit: 100, limitPerUser: 50, turn: 2)
        for number in 0..<5 { _ = queue.append("a\(number)", of: 1) }
        for number in 0..<3 { _ = queue.append("b\(number)", of: 2) }
        _ = queue.append("c0", of: 3)
        #expect(drain(&queue) == ["a0", "a1", "b0", "b1", "c0", "a2", "a3", "b2", "a4"])
    }

    /// Whoever comes last waits for one turn of the one who has filled its share.
    @Test func aFloodDelaysOthersByOneTurn() {
        var queue = FairQueue<String>(limit: 1_024, limitPerUser: 512, turn: 16)
        for _ in 0..<512 { #expect(queue.append("flood", of: 1) == .admitted) }
        #expect(queue.append("flood", of: 1) == .userIsFull)
        #expect(queue.append("good", of: 2) == .admitted)
        let ahead = drain(&queue).firstIndex(of: "good")
        #expect(ahead == 16)
    }

    @Test func boundsOfAllAndOfOne() {
        var queue = FairQueue<Int>(limit: 3, limitPerUser: 2, turn: 1)
        #expect(queue.append(1, of: 1) == .admitted)
        #expect(queue.append(2, of: 1) == .admitted)
        #expect(queue.append(3, of: 1) == .userIsFull)
        #expect(queue.append(4, of: 2) == .admitted)
        #expect(queue.append(5, of: 3) == .full)
        #expect(queue.popFirst() == 1)
        #expect(queue.append(6, of: 1) == .admitted)
        #expect(queue.count == 3)
        #expect(queue.count(of: 1) == 2)
        #expect(queue.count(of: 9) == 0)
    }

    /// Batches count as what they hold: in operations both users get the same.
    @Test func batchesGetNoMoreThanSingles() {
        var queue = FairQueue<String>(limit: 10_000, limitPerUser: 5_000, turn: 16)
        for _ in 0..<40 { _ = queue.append("batch", of: 1, weight: 256) }
        for _ in 0..<5_000 { _ = queue.append("single", of: 2) }
        var operations = ["batch": 0, "single": 0]
        for _ in 0..<2_000 {
            guard let next = queue.popFirst() else { break }
            operations[next, default: 0] += next == "batch" ? 256 : 1
        }
        let (batches, singles) = (operations["batch"] ?? 0, operations["single"] ?? 0)
        #expect(abs(batches - singles) <= 256 + 16, "\(batches) operations in batches, \(singles) single ones")
    }

    /// Nobody is made to sit out turns that nobody else wants, nor later for those.
    @Test func aloneNobodySitsOut() {
        var queue = FairQueue<String>(limit: 100, limitPerUser: 100, turn: 2)
        for _ in 0..<3 { _ = queue.append("a", of: 1, weight: 256) }
        #expect(queue.popFirst() == "a")
        #expect(queue.popFirst() == "a")
        for _ in 0..<4 { _ = queue.append("b", of: 2) }
        #expect(drain(&queue).count == 5)
    }

    @Test func whatIsGivenBackIsNext() {
        var queue = FairQueue<String>(limit: 4, limitPerUser: 2, turn: 1)
        for name in ["a0", "a1"] { _ = queue.append(name, of: 1) }
        for name in ["b0", "b1"] { _ = queue.append(name, of: 2) }
        #expect(queue.popFirst() == "a0")
        #expect(queue.popFirst() == "b0")
        queue.prepend("b0", of: 2)
        queue.prepend("a0", of: 1)
        #expect(queue.count == 4)
        #expect(queue.append("c", of: 3) == .full)
        #expect(queue.popFirst() == "a0")
        #expect(drain(&queue).sorted() == ["a1", "b0", "b1"])
        queue.prepend("alone", of: 9)
        #expect(queue.popFirst() == "alone")
    }

    @Test func whatHasMoreToDoWaitsForItsUsersNextTurn() {
        var queue = FairQueue<String>(limit: 3, limitPerUser: 2, turn: 16)
        for name in ["a0", "a1"] { _ = queue.append(name, of: 1, weight: 16) }
        #expect(queue.popFirst() == "a0")
        _ = queue.append("b0", of: 2)
        _ = queue.append("c0", of: 3)
        queue.resume("a0", of: 1, weight: 16)
        #expect(queue.count == 4)
        #expect(drain(&queue) == ["b0", "c0", "a0", "a1"])
        queue.resume("alone", of: 9, weight: 16)
        #expect(drain(&queue) == ["alone"])
    }

    @Test func whatIsLateLeaves() {
        var queue = FairQueue<Int>(limit: 100, limitPerUser: 100, turn: 1)
        for number in 0..<10 { _ = queue.append(number, of: UInt32(number % 2)) }
        _ = queue.append(100, of: 5)
        #expect(queue.removeAll { $0 == 100 || $0.isMultiple(of: 3) }.sorted() == [0, 3, 6, 9, 100])
        #expect(queue.count == 6)
        #expect(queue.sorted() == [1, 2, 4, 5, 7, 8])
        #expect(queue.count(of: 5) == 0)
        #expect(queue.removeAll { _ in false }.isEmpty)
        #expect(drain(&queue) == [2, 1, 4, 5, 8, 7])
        _ = queue.append(1, of: 1)
        #expect(queue.removeAll() == [1])
        #expect(queue.isEmpty)
        #expect(queue.append(2, of: 1) == .admitted)
        #expect(drain(&queue) == [2])
    }

    /// Against the plainest model: nothing is lost or doubled, and each user's elements keep their order.
    @Test func nothingIsLostWhateverComes() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            var queue = FairQueue<(user: UInt32, number: Int)>(limit: 40, limitPerUser: 15, turn: Int.random(in: 1...20))
            var model: [UInt32: [Int]] = [:]
            for number in 0..<300 {
                let user = UInt32.random(in: 0..<5, using: &generator)
                switch Int.random(in: 0..<10, using: &generator) {
                case 0..<5:
                    let total = model.values.reduce(0) { $0 + $1.count }
                    let own = model[user]?.count ?? 0
                    let expected: FairQueue<(user: UInt32, number: Int)>.Admission =
                        total >= 40 ? .full : own >= 15 ? .userIsFull : .admitted
                    #expect(queue.append((user, number), of: user, weight: Int.random(in: 1...30)) == expected)
                    if expected == .admitted { model[user, default: []].append(number) }
                case 5..<8:
                    if let (user, number) = queue.popFirst() {
                        #expect(model[user]?.removeFirst() == number)
                    } else {
                        #expect(model.values.allSatisfy { $0.isEmpty })
                    }
                case 8:
                    guard let taken = queue.popFirst() else { continue }
                    if Bool.random(using: &generator) {
                        queue.prepend(taken, of: taken.user)
                    } else {
                        queue.resume(taken, of: taken.user, weight: Int.random(in: 1...30))
                    }
                default:
                    queue.removeAll { $0.number % 7 == 0 }
                    for user in model.keys { model[user]?.removeAll { $0 % 7 == 0 } }
                }
                #expect(queue.count == model.values.reduce(0) { $0 + $1.count })
            }
        }
    }
}
