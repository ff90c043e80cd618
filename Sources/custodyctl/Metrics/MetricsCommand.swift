import ArgumentParser
import CustodyClient
import ToolSupport

/// `metrics`: what the daemon counts and times, for Prometheus.
struct MetricsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metrics", abstract: "Print what the daemon counts and times, in Prometheus' text format.",
        discussion: """
            Example: custodyctl metrics --listen 127.0.0.1:9464

            Without --listen it prints once, for a textfile collector; with it, it serves GET /metrics until it is ended.

            Needs a grant of `status`. The daemon itself listens on no network: what is served over HTTP is this command, as a \
            process and user of its own. custody_up is 0 while the daemon can't be asked.
            """)

    @Option(help: ArgumentHelp("Serve over HTTP at this address instead of printing.", valueName: "address:port"))
    var listen: String?

    @OptionGroup var client: ClientOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        if common.json { throw ValidationError("metrics have a format of their own; `custodyctl status --json` is the report in JSON") }
    }

    func run() async throws {
        guard let listen else {
            do {
                let report = try await client.withClient(common) { client throws(CustodyClientError) in try await client.metrics() }
                return try Output.write(Array(PrometheusText(report).text.utf8))
            } catch {
                // A file that a collector reads must not go on saying that all is well.
                try Output.write(Array(PrometheusText.down.utf8))
                throw error
            }
        }
        let address = try MetricsServer.Address(listen)
        try await client.withLongLivedClient(common) { client in
            let scraper = Scraper(client)
            try await MetricsServer(address: address) { await scraper.text }.run { address in
                Output.complain("serving http://\(address)/metrics")
            }
        }
    }
}

/// Asks the daemon for everybody who asks within a second once.
private actor Scraper {
    private let client: CustodyClient
    private var latest: (text: String, at: ContinuousClock.Instant)?
    /// The one that asks now, for all who come meanwhile.
    private var asking: Task<String, Never>?
    private var isFailing = false

    init(_ client: CustodyClient) { self.client = client }

    var text: String {
        get async {
            if let latest, latest.at.duration(to: .now) < .seconds(1) { return latest.text }
            if let asking { return await asking.value }
            let task = Task { await ask() }
            asking = task
            let text = await task.value
            asking = nil
            latest = (text, .now)
            return text
        }
    }

    private func ask() async -> String {
        do throws(CustodyClientError) {
            let text = PrometheusText(try await client.metrics()).text
            isFailing = false
            return text
        } catch {
            // Once for each outage, not for each scrape.
            if !isFailing { Output.complain("the daemon can't be asked: \(ToolError(error).message)") }
            isFailing = true
            return PrometheusText.down
        }
    }
}
