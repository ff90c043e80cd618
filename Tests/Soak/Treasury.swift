import CustodyClient
import Synchronization

/// What a caller was given and must be able to open for ever.
struct Kept: Sendable {
    enum Form: Sendable {
        case blob([UInt8], context: [String: String])
        case raw(RawCiphertext, aad: [UInt8])
    }

    let form: Form
    let plaintext: [UInt8]
    let key: String
    let version: UInt32

    var opening: CustodyClient.Operation {
        switch form {
        case .blob(let blob, let context): .unwrap(blob, context: context)
        case .raw(let raw, let aad): .decrypt(raw, aad: aad)
        }
    }
}

/// A sample of all that was ever given out, each with the same chance to be in it (reservoir sampling).
final class Treasury: Sendable {
    private struct State {
        var kept: [Kept] = []
        var seen = 0
        var random: RandomSource
    }

    private let capacity: Int
    private let state: Mutex<State>

    init(capacity: Int, seed: UInt64) {
        self.capacity = capacity
        state = Mutex(State(random: RandomSource(seed: seed, part: "treasury")))
    }

    func keep(_ item: Kept) {
        state.withLock { state in
            state.seen += 1
            if state.kept.count < capacity {
                state.kept.append(item)
            } else {
                let place = Int.random(in: 0..<state.seen, using: &state.random)
                if place < capacity { state.kept[place] = item }
            }
        }
    }

    func sample(_ random: inout RandomSource) -> Kept? {
        let number = random.next()
        return state.withLock { $0.kept.isEmpty ? nil : $0.kept[Int(number % UInt64($0.kept.count))] }
    }

    var all: [Kept] { state.withLock { $0.kept } }
}
