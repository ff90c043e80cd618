import Custody

/// `[[grant]]`, `[[deny]]` and `[[limit]]`: who may do what, and how much of it.
extension Configuration {
    static func rules(_ root: TableReader) -> Rules {
        Rules(
            policy: Policy(grants: root.tables("grant").compactMap(grant), denials: root.tables("deny").map(denial)),
            limits: root.tables("limit").map(limit))
    }

    private static func grant(_ table: TableReader) -> Grant? {
        defer { table.finish() }
        let subjects = subjects(table)
        if subjects.count != 1 { table.problem("", "a grant names one 'user' or one 'group'") }
        let operations = operations(table)
        // Where no operation uses a key there is none to name.
        let needsKeys = operations.isEmpty || operations.contains(where: \.usesKey)
        let keys = needsKeys ? Self.keys(table) : table.optional("keys") { _ in Self.keys(table) } ?? everyKey
        let context = Self.context(table)
        for kind in operations where !context.isEmpty && kind.usesKey && !kind.hasContext {
            table.problem(
                "operations", "\(kind.rawValue) has no context, so a grant with 'context' never allows it: give it a grant of its own")
        }
        guard let subject = subjects.first ?? nil else { return nil }
        return Grant(rule: table.place, subject: subject, keys: keys, operations: operations, context: context)
    }

    private static func denial(_ table: TableReader) -> Denial {
        defer { table.finish() }
        let subjects = subjects(table)
        let everyone = table.optional("everyone") { table.bool($0, default: true) }
        if everyone == false { table.problem("everyone", "'everyone' is true or left out") }
        if subjects.count + (everyone == nil ? 0 : 1) != 1 {
            table.problem("", "a denial names one 'user' or one 'group', or says 'everyone = true'")
        }
        let listed = table.optional("operations") { _ in operations(table) }
        let denial = Denial(
            rule: table.place, subject: subjects.first ?? nil, keys: table.optional("keys") { _ in keys(table) } ?? everyKey,
            operations: listed ?? .all, context: context(table))
        // Whoever lists an operation means to deny it.
        for kind in (listed ?? []).subtracting(denial.conditions.operations) {
            let lacking = kind.usesKey ? "context, so a denial with 'context'" : "key, so a denial with 'keys' or 'context'"
            table.problem("operations", "\(kind.rawValue) has no \(lacking) never concerns it: give it a denial of its own")
        }
        return denial
    }

    private static func limit(_ table: TableReader) -> Limit {
        defer { table.finish() }
        let subjects = subjects(table)
        if subjects.count > 1 { table.problem("", "a limit names one 'user' or one 'group', or nobody if it is for everyone") }
        let perSecond = table.optional("per-second") { table.double($0, in: 0.001...1_000_000, default: 1) }
        let burst = table.optional("burst") { table.int($0, in: 1...1_000_000, default: 1) }
        let perDay = table.optional("per-day") { table.int($0, in: 1...1_000_000_000_000, default: 1) }
        if perSecond == nil, perDay == nil { table.problem("", "a limit says 'per-second' or 'per-day' or both") }
        if perSecond == nil, burst != nil { table.problem("burst", "'burst' goes with 'per-second', which is missing") }
        return Limit(
            rule: table.place, subject: subjects.first ?? nil, keys: table.optional("keys") { _ in keys(table) } ?? everyKey,
            operations: table.optional("operations") { _ in operations(table) } ?? .usingKeys, perSecond: perSecond, burst: burst,
            perDay: perDay, per: per(table))
    }

    // MARK: What they have in common

    /// Those that a table names, which should be one; nil for one that does not exist.
    private static func subjects(_ table: TableReader) -> [Subject?] {
        let user: Subject?? = table.optional("user") { key in
            .some(table.string(key).flatMap { name in
                if let uid = SystemAccounts.uid(ofUser: name) { return .user(name: name, uid: uid) }
                table.problem(key, "there is no user '\(name)' on this machine; give a user's name or a number")
                return nil
            })
        }
        let group: Subject?? = table.optional("group") { key in
            .some(table.string(key).flatMap { name in
                if let gid = SystemAccounts.gid(ofGroup: name) { return .group(name: name, gid: gid) }
                table.problem(key, "there is no group '\(name)' on this machine; give a group's name or a number")
                return nil
            })
        }
        return [user, group].compactMap { $0 }
    }

    private static let everyKey = [Pattern("*")]

    private static func keys(_ table: TableReader) -> [Pattern] {
        let names = table.strings("keys", expected: "an array of key names, where * stands for anything")
        if names?.isEmpty == true { table.problem("keys", "'keys' is empty; name keys, or \"*\" for all") }
        for name in names ?? [] where !couldMatch(name) {
            let rule = "1 to \(CustodyLimits.keyName) characters of A-Z a-z 0-9 . _ -, beginning with a letter or digit"
            table.problem("keys", "'\(name)' can't be a key's name: \(rule); * stands for any of them")
        }
        return (names ?? []).map(Pattern.init)
    }

    /// Whether some key can have a name like this.
    private static func couldMatch(_ pattern: String) -> Bool {
        let literal = pattern.filter { $0 != "*" }
        if literal.isEmpty { return !pattern.isEmpty }
        // Behind a star any character may come first.
        do { _ = try KeyName(pattern.hasPrefix("*") ? "a" + literal : literal) } catch { return false }
        return true
    }

    private static func operations(_ table: TableReader) -> Set<Custody.Operation.Kind> {
        let known = Custody.Operation.Kind.allCases.map(\.rawValue).joined(separator: ", ")
        let names = table.strings("operations", expected: "an array of \(known)")
        if names?.isEmpty == true { table.problem("operations", "'operations' is empty; there are \(known)") }
        var operations: Set<Custody.Operation.Kind> = []
        for name in names ?? [] {
            if let kind = Custody.Operation.Kind(rawValue: name) {
                operations.insert(kind)
            } else {
                table.problem("operations", "there is no operation '\(name)'; there are \(known)")
            }
        }
        return operations
    }

    private static func context(_ table: TableReader) -> [String: Pattern] {
        let context = table.stringTable("context")
        if context.keys.contains("") { table.problem("context", "a context key is empty") }
        return context.mapValues(Pattern.init)
    }

    private static func per(_ table: TableReader) -> Limit.Per {
        let known = Limit.Per.allCases.map(\.rawValue).joined(separator: ", ")
        let word = table.string("per", expected: "one of \(known)", default: Limit.Per.user.rawValue) ?? ""
        if let per = Limit.Per(rawValue: word) { return per }
        table.problem("per", "there is no 'per = \"\(word)\"'; there are \(known)")
        return .user
    }
}
