import Custody
import CustodyServer

/// The configuration file: taken, or refused with every mistake in its place.
enum ConfigurationTarget: FuzzTarget {
    static let name = "configuration"

    static func run(_ bytes: [UInt8]) throws {
        // What is not UTF-8 is refused before it is read.
        guard let text = String(validating: bytes, as: UTF8.self) else { return }
        let lines = bytes.split(separator: 0x0A, omittingEmptySubsequences: false).count
        let whole = try read(text, lines, judging: nil)
        for parts in [["token", "keys"], ["server.socket"]] as [Set<String>] {
            let part = try read(text, lines, judging: parts)
            try require(whole == nil || part != nil, "it is right, but \(parts) of it is wrong")
        }
        if let whole {
            try require(whole.overlooked.isEmpty, "mistakes were overlooked")
            try require(!bytes.contains(0), "what follows the NUL was overlooked")
            try check(whole)
        }
    }

    /// nil if it was refused.
    private static func read(_ text: String, _ lines: Int, judging parts: Set<String>?) throws -> Configuration? {
        let problems: [ConfigurationError.Problem]
        var configuration: Configuration?
        do throws(ConfigurationError) {
            let read = try Configuration(text, file: "/etc/custody/custody.toml", judging: parts)
            problems = read.overlooked
            configuration = read
        } catch {
            problems = error.problems
            try require(!problems.isEmpty, "refused without a mistake")
        }
        for problem in problems {
            try require(!problem.message.isEmpty, "a mistake without words")
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
