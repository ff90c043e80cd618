import Custody

/// `[audit]`, and `[state]`, where its newest checkpoint is anchored.
extension Configuration {
    static func audit(_ table: TableReader, stateDirectory: String, _ absolute: (String) -> String) -> AuditSettings {
        let file = absolute(table.string("file", expected: "the path of the audit log", default: "/var/log/custody/audit.jsonl") ?? "")
        let interval = table.int("sync-interval-ms", in: 1...60_000, default: 100)
        let durability: AuditSettings.Durability
        switch table.string("durability", expected: "\"write\", \"interval\" or \"fsync\"", default: "write") {
        case "interval": durability = .interval(.milliseconds(interval))
        case "fsync": durability = .fsync
        case "write", nil: durability = .write
        case .some(let word):
            table.problem("durability", "there is no durability '\(word)'; there are write, interval and fsync")
            durability = .write
        }
        defer { table.finish() }
        return AuditSettings(
            file: file, stateDirectory: stateDirectory, durability: durability,
            checkpointRecords: table.int("checkpoint-records", in: 1...10_000_000, default: 10_000),
            checkpointInterval: .milliseconds(table.int("checkpoint-interval-ms", in: 10...86_400_000, default: 10_000)),
            tokenAnchorInterval: .milliseconds(table.int("token-anchor-interval-ms", in: 0...86_400_000, default: 60_000)),
            journal: table.bool("journal", default: false),
            journalSocket: table.string(
                "journal-socket", expected: "the path of journald's socket", default: "/run/systemd/journal/socket") ?? "")
    }

    static func state(_ table: TableReader, _ absolute: (String) -> String) -> (directory: String, pinAttempts: String) {
        defer { table.finish() }
        let directory = absolute(table.string("directory", expected: "the folder for the daemon's state", default: "/var/lib/custody") ?? "")
        let attempts = table.string("pin-attempts", expected: "the file in which attempts at PINs are recorded", default: "")
        return (directory, attempts.flatMap { $0.isEmpty ? nil : absolute($0) } ?? directory + "/pin-attempts.json")
    }
}
