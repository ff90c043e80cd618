import Fuzzing
import Testing

/// What the fuzzers start from and what they once found holds in every ordinary run of the tests.
@Suite struct CorpusTests {
    @Test(arguments: FuzzTargets.all.map { $0.name })
    func everyKeptInputHolds(_ name: String) throws {
        let target = try #require(FuzzTargets.named(name))
        let inputs = try Corpus.inputs(of: target)
        #expect(!inputs.isEmpty)
        for input in inputs {
            do {
                try target.run(input.bytes)
            } catch {
                Issue.record("\(name)/\(input.name): \(error)")
            }
        }
    }

    /// Forgeries are made of it: without it the fuzzer would never come near to one.
    @Test func theSeedLogIsAmongTheInputs() throws {
        #expect(try Corpus.inputs(of: #require(FuzzTargets.named("audit-log"))).contains { $0.bytes == SeedLog.shared.bytes })
    }

    /// Every input cut off anywhere, and with any of its bytes changed: a little of what the fuzzers do, without their toolchain.
    @Test(arguments: FuzzTargets.all.map { $0.name })
    func everyKeptInputHoldsWhenItIsDamaged(_ name: String) throws {
        let target = try #require(FuzzTargets.named(name))
        for input in try Corpus.inputs(of: target) where !input.bytes.isEmpty {
            for step in 0..<8 {
                let position = step * input.bytes.count / 8
                var changed = input.bytes
                changed[position] ^= UInt8(truncatingIfNeeded: 1 << step)
                for damaged in [Array(input.bytes.prefix(position)), changed] {
                    do {
                        try target.run(damaged)
                    } catch {
                        Issue.record("\(name)/\(input.name), byte \(position): \(error)")
                    }
                }
            }
        }
    }
}
