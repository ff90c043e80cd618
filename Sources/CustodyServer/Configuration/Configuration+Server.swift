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
        defer { table.finish() }
        return Server(
            socket: socket,
            socketMode: mode ?? 0o660,
            connections: table.int("connections", in: 1...65_536, default: 1_024),
            requestsInFlight: table.int("requests-in-flight", in: 1...65_536, default: 256),
            defaultDeadline: .milliseconds(defaultDeadline),
            longestDeadline: .milliseconds(longestDeadline),
            queueLimit: table.int("queue", in: 1...1_000_000, default: 1_024),
            drain: .milliseconds(table.int("drain-ms", in: 0...600_000, default: 5_000)))
    }
}
