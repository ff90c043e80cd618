import Custody
import CustodyServer
import TOML

/// The configuration file: taken, or refused with every mistake in its place.
enum ConfigurationTarget: FuzzTarget {
    static let name = "configuration"

    static func run(_ bytes: [UInt8]) throws {
        let document = try document(bytes)
        let lines = bytes.split(separator: 0x0A, omittingEmptySubsequences: false).count
        let whole = try read(bytes, lines, judging: nil)
        for parts in [["token", "keys"], ["server.socket"]] as [Set<String>] {
            let part = try read(bytes, lines, judging: parts)
            try require(whole == nil || part != nil, "it is right, but \(parts) of it is wrong")
        }
        if let whole {
            try require(document != nil, "it is a configuration and no TOML")
            try require(whole.overlooked.isEmpty, "mistakes were overlooked")
            try check(whole)
        }
    }

    /// nil if it is no TOML of ours.
    private static func document(_ bytes: [UInt8]) throws -> TOMLTable? {
        let lines = bytes.split(separator: 0x0A, omittingEmptySubsequences: false)
        let document: TOMLTable
        do throws(TOMLError) {
            document = try TOMLDocument.read(bytes)
        } catch {
            try require((1...lines.count).contains(error.line) && !error.message.isEmpty, "\(error)")
            try require((1...lines[error.line - 1].count + 1).contains(error.column), "\(error)")
            try require(error.message.utf8.count < 1_000, "a mistake of \(error.message.utf8.count) bytes")
            return nil
        }
        try check(document, lines.count, depth: 0)
        try require(String(validating: bytes, as: UTF8.self) != nil && !bytes.contains(0), "it is no text")
        return document
    }

    private static func check(_ table: TOMLTable, _ lines: Int, depth: Int) throws {
        // Headers and values nest one within the other.
        try require((1...lines).contains(table.line) && depth <= 2 * TOMLDocument.depthLimit, "a table in line \(table.line), \(depth) deep")
        for entry in table.entries {
            try require((1...lines).contains(entry.line) && table[entry.key] != nil, "\(entry)")
            for value in entry.value.array ?? [entry.value] {
                if let table = value.table { try check(table, lines, depth: depth + 1) }
            }
        }
    }

    /// nil if it was refused.
    private static func read(_ bytes: [UInt8], _ lines: Int, judging parts: Set<String>?) throws -> Configuration? {
        let problems: [ConfigurationError.Problem]
        var configuration: Configuration?
        do throws(ConfigurationError) {
            let read = try Configuration(bytes, file: "/etc/custody/custody.toml", judging: parts)
            problems = read.overlooked
            configuration = read
        } catch {
            problems = error.problems
            try require(!problems.isEmpty, "refused without a mistake")
        }
        for problem in problems {
            try require((1...2_000).contains(problem.message.utf8.count), "a mistake without words, or with too many")
            try require(problem.line.map { (1...lines + 1).contains($0) } ?? true, "a mistake in line \(problem.line ?? 0) of \(lines)")
        }
        return configuration
    }

    /// What the daemon relies on.
    private static func check(_ configuration: Configuration) throws {
        let server = configuration.server
        try require((1...107).contains(server.socket.utf8.count) && server.socketMode <= 0o777, "\(server)")
        try require(server.connections > 0 && server.requestsInFlight > 0 && server.queueLimit > 0, "\(server)")
        try require(.zero < server.defaultDeadline && server.defaultDeadline <= server.longestDeadline, "\(server)")
        try require((1...4_294_967_296).contains(configuration.keys.usesPerVersion), "\(configuration.keys)")
        try require(configuration.keys.lookInterval >= .milliseconds(50), "\(configuration.keys)")
        try require((1...64).contains(configuration.token.sessions), "\(configuration.token)")
        for grant in configuration.rules.policy.grants {
            try require(!grant.conditions.operations.isEmpty && !grant.conditions.keys.isEmpty, "a grant of nothing: \(grant)")
        }
        for limit in configuration.rules.limits {
            try require(limit.perSecond.map { $0 > 0 } ?? true && limit.perDay.map { $0 > 0 } ?? true, "\(limit)")
            try require(limit.perSecond != nil || limit.perDay != nil, "a limit of nothing: \(limit)")
        }
    }
}
