import ArgumentParser
import CustodyClient
import CustodyProtocol
import Foundation
import ToolSupport

/// `top`: what the daemon does now, again and again.
struct TopCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top", abstract: "Watch what the daemon, its clients and the HSM are doing.",
        discussion: """
            Example: custodyctl top --interval 1

            Rates and latencies are of the time between two looks. Into a file or a pipe it writes one look after the other. \
            Ends with Ctrl-C. Needs a grant of `status`.
            """)

    @Option(help: ArgumentHelp("Seconds between two looks.", valueName: "seconds"))
    var interval = 2.0

    @Option(help: ArgumentHelp("End after so many looks.", valueName: "n"))
    var count: Int?

    @OptionGroup var client: ClientOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard (0.1...3_600).contains(interval) else { throw ValidationError("--interval must be from 0.1 to 3600") }
        guard count.map({ $0 > 0 }) ?? true else { throw ValidationError("--count must be at least 1") }
        if common.json { throw ValidationError("for programs there is `custodyctl status --json`, and `custodyctl metrics`") }
    }

    func run() async throws {
        try await client.withLongLivedClient(common) { client in
            var latest: (report: WireStatusReport, at: ContinuousClock.Instant)?
            var looks = 0
            while count.map({ looks < $0 }) ?? true {
                if looks > 0 { try await Task.sleep(for: .seconds(interval)) }
                looks += 1
                do throws(CustodyClientError) {
                    let report = try await client.metrics()
                    let now = ContinuousClock.now
                    let elapsed = latest.map { $0.at.duration(to: now) / .seconds(1) }
                    Screen.show(TopView(report, since: latest?.report, seconds: elapsed).lines)
                    latest = (report, now)
                } catch {
                    // A daemon that is restarted comes back; one that was not there at all is a mistake of the command's.
                    guard latest != nil, error.retriesByItself else { throw ToolError(error) }
                    Screen.show(["custodyd can't be asked: \(error.message)"])
                }
            }
        }
    }
}

extension CustodyClientError {
    /// Whether the daemon may answer a moment later.
    fileprivate var retriesByItself: Bool {
        switch code {
        case .cannotConnect, .connectionLost, .deadlineExceeded: true
        case .server: retryAfter != nil
        case .cancelled, .protocolViolation, .requestTooLarge, .shutDown: false
        }
    }
}
