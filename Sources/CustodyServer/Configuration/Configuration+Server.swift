import Custody

/// `[server]`.
extension Configuration {
    static func server(_ table: TableReader, _ absolute: (String) -> String) -> Server {
        let modeText = table.string("socket-mode", expected: "an octal mode such as \"0660\"", default: "0660") ?? ""
        let mode = UInt32(modeText, radix: 8)
        if mode == nil || mode.map({ $0 > 0o777 }) == true {
            table.problem("socket-mode", "'socket-mode' must be an octal mode such as \"0660\"")
        }
        let socket = absolute(table.string("socket", expected: "the path of a Unix socket", default: defaultSocket) ?? "")
        if socket.utf8.count > 107 {
            table.problem("socket", "'socket' has \(socket.utf8.count) bytes; a Unix socket's path has at most 107")
        }
        let defaultDeadline = table.int("default-deadline-ms", in: 1...600_000, default: 5_000)
        let longestDeadline = table.int("longest-deadline-ms", in: 1...600_000, default: 60_000)
        if defaultDeadline > longestDeadline {
            table.problem("default-deadline-ms", "'default-deadline-ms' must not be above 'longest-deadline-ms', \(longestDeadline)")
        }
        let connections = table.int("connections", in: 1...65_536, default: 1_024)
        let queue = table.int("queue", in: 1...1_000_000, default: 1_024)
        let memory = mebibytes(table, "memory-mib", below: nil, default: 256)
        let memoryPerUser = mebibytes(table, "memory-mib-per-user", below: ("memory-mib", memory), default: 64)
        let memoryPerConnection = mebibytes(
            table, "memory-mib-per-connection", below: ("memory-mib-per-user", memoryPerUser), default: 8)
        let idleTimeout = table.int("idle-timeout-ms", in: 0...86_400_000, default: 0)
        defer { table.finish() }
        return Server(
            socket: socket,
            socketMode: mode ?? 0o660,
            connections: connections,
            connectionsPerUser: part(table, "connections-per-user", of: ("connections", connections), default: 256),
            connectsPerSecond: table.int("connects-per-second-per-user", in: 1...1_000_000, default: 1_000),
            requestsInFlight: table.int("requests-in-flight", in: 1...65_536, default: 256),
            requestsInFlightPerUser: table.int("requests-in-flight-per-user", in: 1...1_000_000, default: max(1, queue / 2)),
            memory: memory,
            memoryPerUser: memoryPerUser,
            memoryPerConnection: memoryPerConnection,
            frameTimeout: .milliseconds(table.int("frame-timeout-ms", in: 100...3_600_000, default: 10_000)),
            writeTimeout: .milliseconds(table.int("write-timeout-ms", in: 100...3_600_000, default: 30_000)),
            idleTimeout: idleTimeout == 0 ? nil : .milliseconds(idleTimeout),
            defaultDeadline: .milliseconds(defaultDeadline),
            longestDeadline: .milliseconds(longestDeadline),
            queueLimit: queue,
            drain: .milliseconds(table.int("drain-ms", in: 0...600_000, default: 5_000)))
    }

    /// A number that is a part of another: its default gives way to that one, a number that is written down does not.
    private static func part(_ table: TableReader, _ key: String, of whole: (key: String, value: Int), default fallback: Int) -> Int {
        let value = table.int(key, in: 1...1_000_000, default: min(fallback, whole.value))
        if value > whole.value { table.problem(key, "'\(key)' must not be above '\(whole.key)', \(whole.value)") }
        return value
    }

    /// Bytes; written as MiB.
    private static func mebibytes(
        _ table: TableReader, _ key: String, below whole: (key: String, value: Int)?, default fallback: Int
    ) -> Int {
        guard let whole else { return table.int(key, in: 1...1_048_576, default: fallback) * 1_048_576 }
        return part(table, key, of: (whole.key, whole.value / 1_048_576), default: fallback) * 1_048_576
    }
}
