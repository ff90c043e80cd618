import TestSupport
import Testing

@testable import Custody

/// What holds for every policy, tried on many random ones.
@Suite struct PolicyPropertyTests {
    private static let seeds: [UInt64] = Array(1...8)

    @Test(arguments: seeds) func aDenialWins(_ seed: UInt64) throws {
        var random = Randomness(seed: seed)
        for _ in 0..<400 {
            let policy = random.policy()
            let denial = random.denial()
            let stricter = Policy(grants: policy.grants, denials: policy.denials + [denial])
            let question = try random.question()
            if case .denied = question.put(to: policy) { #expect(question.put(to: stricter).isDenied, "\(question) \(stricter)") }
            if question.matches(denial) { #expect(question.put(to: stricter).isDenied, "\(question) \(stricter)") }
        }
    }

    @Test(arguments: seeds) func nothingIsAllowedByDefault(_ seed: UInt64) throws {
        var random = Randomness(seed: seed)
        for _ in 0..<400 {
            let policy = random.policy()
            let question = try random.question()
            #expect(question.put(to: Policy(grants: [], denials: policy.denials)).isDenied)
            let isGranted = policy.grants.contains(where: question.matches)
            if !isGranted { #expect(question.put(to: policy).isDenied, "\(question) \(policy)") }
        }
    }

    @Test(arguments: seeds) func aGrantNeverRevokes(_ seed: UInt64) throws {
        var random = Randomness(seed: seed)
        for _ in 0..<400 {
            let policy = random.policy()
            let wider = Policy(grants: [random.grant()] + policy.grants, denials: policy.denials)
            let question = try random.question()
            if case .allowed = question.put(to: policy) { #expect(!question.put(to: wider).isDenied, "\(question) \(wider)") }
        }
    }

    @Test(arguments: seeds) func decisionsAreThoseOfTheDefinition(_ seed: UInt64) throws {
        var random = Randomness(seed: seed)
        var allowed = 0
        for _ in 0..<400 {
            let policy = random.policy()
            let question = try random.question()
            let shouldBeAllowed = policy.grants.contains(where: question.matches) && !policy.denials.contains(where: question.matches)
            #expect(question.put(to: policy).isDenied != shouldBeAllowed, "\(question) \(policy)")
            if shouldBeAllowed {
                allowed += 1
                #expect(policy.mayEver(question.principal, question.kind))
            }
        }
        // Or the properties would say nothing.
        #expect(allowed > 20)
    }

    @Test(arguments: seeds) func patternsMatchWhatTheReferenceDoes(_ seed: UInt64) {
        func reference(_ pattern: Substring, _ text: Substring) -> Bool {
            guard let first = pattern.first else { return text.isEmpty }
            if first == "*" {
                return text.indices.contains { reference(pattern.dropFirst(), text[$0...]) } || reference(pattern.dropFirst(), "")
            }
            return text.first == first && reference(pattern.dropFirst(), text.dropFirst())
        }
        var random = Randomness(seed: seed)
        for _ in 0..<2_000 {
            let pattern = random.text(of: "aab*", atMost: 7)
            let text = random.text(of: "aab", atMost: 8)
            #expect(Pattern(pattern).matches(text) == reference(pattern[...], text[...]), "\(pattern) \(text)")
        }
    }
}

/// A request, and the definition of what it takes to match, written down once more.
private struct Question {
    let principal: Principal
    let kind: Operation.Kind
    let key: String?
    let context: EncryptionContext?

    func put(to policy: Policy) -> Policy.Decision { policy.decide(principal, kind, key: key.map { KeyName(stringLiteral: $0) }, context: context) }

    func matches(_ grant: Grant) -> Bool {
        isAbout(grant.subject) && grant.conditions.operations.contains(kind)
            && (!kind.usesKey || matchesKey(grant.conditions) && matchesContext(grant.conditions))
    }

    func matches(_ denial: Denial) -> Bool {
        guard denial.subject.map(isAbout) ?? true, denial.conditions.operations.contains(kind) else { return false }
        guard kind.usesKey else { return denial.conditions.keys.contains(Pattern("*")) && denial.conditions.context.isEmpty }
        return matchesKey(denial.conditions) && matchesContext(denial.conditions)
    }

    private func isAbout(_ subject: Subject) -> Bool {
        switch subject {
        case .user(_, let uid): uid == principal.uid
        case .group(_, let gid): principal.gids.contains(gid)
        }
    }

    private func matchesKey(_ conditions: Conditions) -> Bool {
        conditions.keys.contains { pattern in key.map(pattern.matches) ?? false }
    }

    private func matchesContext(_ conditions: Conditions) -> Bool {
        for (name, pattern) in conditions.context {
            guard let value = context?[name], pattern.matches(value) else { return false }
        }
        return true
    }
}

extension Policy.Decision {
    fileprivate var isDenied: Bool {
        if case .denied = self { true } else { false }
    }
}

/// Random policies of few enough names that rules meet requests; the same for the same seed.
private struct Randomness: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    /// SplitMix64.
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    mutating func policy() -> Policy {
        Policy(
            grants: (0..<Int.random(in: 1...4, using: &self)).map { _ in grant() },
            denials: (0..<Int.random(in: 0...2, using: &self)).map { _ in denial() })
    }

    mutating func grant() -> Grant {
        Grant(rule: "g", subject: subject(), keys: keys(), operations: operations(), context: context())
    }

    mutating func denial() -> Denial {
        Denial(rule: "d", subject: one(of: [subject(), nil]), keys: keys(), operations: operations(), context: context())
    }

    mutating func question() throws -> Question {
        let kind = one(of: Operation.Kind.allCases)
        var entries: [EncryptionContext.Entry] = []
        for key in ["tenant", "purpose"] where Bool.random(using: &self) {
            entries.append(.init(key: key, value: one(of: ["acme", "acme-1", "other"])))
        }
        let (uid, gid): (UInt32, UInt32) = (one(of: [1, 2]), one(of: [1, 2, 3]))
        return Question(
            principal: Principal(uid: uid, gids: [gid, uid], pid: 1), kind: kind, key: kind.usesKey ? one(of: ["pay", "pay-1", "store"]) : nil,
            context: kind.hasContext ? try EncryptionContext(entries) : nil)
    }

    mutating func text(of characters: String, atMost count: Int) -> String {
        String((0..<Int.random(in: 0...count, using: &self)).map { _ in one(of: Array(characters)) })
    }

    private mutating func subject() -> Subject {
        let id: UInt32 = one(of: [1, 2])
        return Bool.random(using: &self) ? .user(name: "u", uid: id) : .group(name: "g", gid: id)
    }

    private mutating func keys() -> [Pattern] {
        (0..<Int.random(in: 1...2, using: &self)).map { _ in Pattern(one(of: ["*", "pay", "pay-*", "*-1", "store"])) }
    }

    private mutating func operations() -> Set<Operation.Kind> {
        let all = Operation.Kind.allCases
        return Set(all.filter { _ in Int.random(in: 0...2, using: &self) > 0 })
    }

    private mutating func context() -> [String: Pattern] {
        guard Int.random(in: 0...2, using: &self) == 0 else { return [:] }
        return [one(of: ["tenant", "purpose"]): Pattern(one(of: ["*", "acme*", "other"]))]
    }

    private mutating func one<T>(of values: [T]) -> T {
        values[Int.random(in: 0..<values.count, using: &self)]
    }
}
