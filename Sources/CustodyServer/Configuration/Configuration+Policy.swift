import Custody

/// `[[grant]]`: who may do what.
extension Configuration {
    static func grant(_ table: TableReader) -> Grant? {
        let subject = subject(table)
        let keys = table.strings("keys", expected: "an array of key names, where * stands for anything") ?? []
        var operations: Set<Custody.Operation.Kind> = []
        let known = Custody.Operation.Kind.allCases.map(\.rawValue)
        for name in table.strings("operations", expected: "an array of \(known.joined(separator: ", "))") ?? [] {
            if let kind = Custody.Operation.Kind(rawValue: name) {
                operations.insert(kind)
            } else {
                table.problem("operations", "there is no operation '\(name)'; there are \(known.joined(separator: ", "))")
            }
        }
        let context = table.stringTable("context").mapValues(Pattern.init)
        table.finish()
        guard let subject else { return nil }
        return Grant(rule: table.place, subject: subject, keys: keys.map(Pattern.init), operations: operations, context: context)
    }

    private static func subject(_ table: TableReader) -> Grant.Subject? {
        switch (table.has("user"), table.has("group")) {
        case (true, false):
            _ = table.string("group", default: "")
            guard let name = table.string("user") else { return nil }
            guard let uid = SystemAccounts.uid(ofUser: name) else {
                table.problem("user", "there is no user '\(name)' on this machine; give a user's name or a number")
                return nil
            }
            return .user(name: name, uid: uid)
        case (false, true):
            _ = table.string("user", default: "")
            guard let name = table.string("group") else { return nil }
            guard let gid = SystemAccounts.gid(ofGroup: name) else {
                table.problem("group", "there is no group '\(name)' on this machine; give a group's name or a number")
                return nil
            }
            return .group(name: name, gid: gid)
        default:
            _ = table.string("user", default: "")
            _ = table.string("group", default: "")
            table.problem("", "a grant names one 'user' or one 'group'")
            return nil
        }
    }
}
