import ArgumentParser
import CustodyClient
import CustodyProtocol
import Foundation
import SecureMemory
import TestSupport

/// A process of a user whom no grant names: must be denied, whatever happens.
struct Stranger: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stranger", abstract: "Ask for what nobody may do, as another user, until the end of the standard input.", shouldDisplay: false)

    @Argument var socket: String

    func run() async throws {
        guard setgroups(0, nil) == 0, setgid(64_102) == 0, setuid(64_102) == 0 else { throw POSIXFailure("setuid") }
        let client = CustodyClient(.init(socket: socket, deadline: .seconds(2)))
        var denied = 0
        // The soak ends it.
        while true {
            let outcomes = [
                await client.perform(.wrap(SecretBytes([1]), key: "root", context: [:])), await client.perform(.status),
                await client.perform(.reload), await client.perform(.unwrap(Array("CTDY".utf8), context: [:])),
            ]
            for outcome in outcomes {
                switch outcome {
                case .success(let answer): say("WRONG \(answer)")
                case .failure(let error):
                    if error.code == .server(.denied) { denied += 1 }
                    if case .protocolViolation = error.code { say("WRONG \(error)") }
                }
            }
            say("denied \(denied)")
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    /// Starts one; nil if this user may not become another.
    static func start(_ site: Site) throws -> ChildProcess? {
        guard geteuid() == 0 else { return nil }
        return try ChildProcess("custody-soak", arguments: ["stranger", site.socket])
    }

    /// What it saw.
    static func judge(_ process: ChildProcess, _ book: Book) {
        if let status = process.status { book.violation(.wrong, "the stranger ended: \(status) \(process.errors.suffix(500))") }
        process.signal(SIGKILL)
        let lines = process.output.split(separator: "\n")
        for line in lines where line.hasPrefix("WRONG") { book.violation(.wrong, "a stranger was answered: \(line)") }
        let denied = lines.last { $0.hasPrefix("denied ") }.flatMap { Int($0.dropFirst(7)) } ?? 0
        if denied == 0 { book.violation(.wrong, "the stranger was never denied") }
        book.count("checked denials of a stranger", denied)
    }
}
