import CustodyClient
import Foundation
import SecureMemory
import TestSupport
import Testing

/// What `metrics` and `top` show of a daemon at work.
@Suite struct MetricsTests {
    /// Prometheus' text format, read strictly: the value of each series.
    private func series(_ text: String) throws -> [String: Double] {
        var values: [String: Double] = [:]
        var types: [String: String] = [:]
        for line in text.split(separator: "\n") {
            if line.hasPrefix("# HELP ") { continue }
            if line.hasPrefix("# TYPE ") {
                let words = line.split(separator: " ")
                #expect(types.updateValue(String(words[3]), forKey: String(words[2])) == nil, "\(line): twice")
                continue
            }
            let sample = try #require(
                try /([a-z_:][a-z0-9_:]*)(\{(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)+\})? ([-+0-9.e]+|\+Inf)/.wholeMatch(in: line), "\(line)")
            let name = String(sample.1)
            let family = ["_bucket", "_sum", "_count"].first { name.hasSuffix($0) && types[name] == nil }.map { String(name.dropLast($0.count)) } ?? name
            #expect(types[family] != nil, "\(line): no type before it")
            #expect(values.updateValue(try #require(Double(sample.3)), forKey: name + (sample.2.map(String.init) ?? "")) == nil, "\(line): twice")
        }
        return values
    }

    @Test func operationsAndCallsAreCounted() async throws {
        let installation = try await Installation.ready()
        let daemon = try await installation.startDaemon()
        let before = try series(try await installation.ok("metrics").text)
        let blob = try await installation.ok("wrap", "--key", "payments", input: "content".utf8).bytes
        for _ in 0..<3 { try await installation.ok("unwrap", input: blob) }
        _ = try await installation.ctl(["unwrap", "--context", "a=b"], input: blob).exiting(1)
        // Made-up names make no series.
        _ = try await installation.ctl(["wrap", "--key", "no-such-key"], input: "content".utf8)
        let text = try await installation.ok("metrics").text
        let after = try series(text)
        func grown(_ name: String) -> Double { (after[name] ?? 0) - (before[name] ?? 0) }
        func operations(_ operation: String, _ outcome: String, _ error: String = "", _ key: String = "payments") -> Double {
            grown("custody_operations_total{operation=\"\(operation)\",outcome=\"\(outcome)\",error=\"\(error)\",key=\"\(key)\"}")
        }
        #expect(operations("wrap", "allowed") == 1)
        #expect(operations("unwrap", "allowed") == 3)
        #expect(operations("unwrap", "failed", "decryption-failed") == 1)
        #expect(!text.contains("no-such-key"))
        #expect(grown("custody_operation_seconds_count{operation=\"unwrap\"}") == 3)
        #expect(grown("custody_operation_seconds_bucket{operation=\"unwrap\",le=\"+Inf\"}") == 3)
        #expect(grown("custody_pkcs11_call_seconds_count{function=\"C_Encrypt\"}") >= 1)
        #expect(grown("custody_pkcs11_call_seconds_count{function=\"C_DecryptInit\"}") >= 4)
        // SoftHSM's word for a wrong tag.
        #expect(grown("custody_pkcs11_errors_total{function=\"C_Decrypt\",code=\"CKR_GENERAL_ERROR\"}") >= 1)
        #expect(after["custody_up"] == 1)
        #expect(after["custody_token_state{state=\"ready\"}"] == 1)
        #expect(after["custody_token_state{state=\"locked\"}"] == 0)
        #expect(after["custody_key_version_wraps{key=\"payments\",version=\"1\"}"] == 1)
        #expect((after["custody_key_version_uses{key=\"payments\",version=\"1\"}"] ?? 0) >= 1)
        #expect(after["custody_audit_writable"] == 1)
        #expect(grown("custody_audit_lines_total") >= 6)
        for bound in ["1e-05", "0.001", "10", "+Inf"] {
            #expect(after["custody_operation_seconds_bucket{operation=\"unwrap\",le=\"\(bound)\"}"] != nil, "\(bound)")
        }
        try await daemon.stop()
    }

    @Test func aServerOfItsOwn() async throws {
        let installation = try await Installation.ready()
        let daemon = try await installation.startDaemon()
        let server = try ChildProcess("custodyctl", arguments: ["metrics", "--listen", "127.0.0.1:0", "--config", installation.configurationFile])
        let said = try await server.line(containing: "serving http://")
        let url = try #require(said.split(separator: " ").last.map(String.init))
        func get(_ url: String, _ options: [String] = []) async throws -> (status: String, body: String) {
            let text = try await run("curl", arguments: ["--silent", "--show-error", "--max-time", "30", "--write-out", "\n%{http_code}"] + options + [url]).output
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            return (String(lines.last ?? ""), lines.dropLast().joined(separator: "\n"))
        }
        let answer = try await get(url)
        #expect(answer.status == "200")
        #expect(try series(answer.body)["custody_up"] == 1)
        #expect(try await get(url.replacing("/metrics", with: "/")).status == "404")
        #expect(try await get(url, ["--request", "POST", "--data", "x"]).status == "405")
        // Scrapers find out by custody_up, not by an error that looks like the exporter's own.
        try await daemon.stop()
        try await eventually("custody_up 0") { try await get(url).body.contains("custody_up 0") }
        let again = try await installation.startDaemon()
        try await eventually("custody_up 1") { try await get(url).body.contains("custody_up 1") }
        server.signal(SIGTERM)
        _ = try await server.end()
        try await again.stop()
    }

    /// Whoever can connect can open many connections and ask for nothing: scrapers are answered all the same.
    @Test func connectionsThatAskForNothingDoNotBlindIt() async throws {
        let server = try await MetricsEndpoint()
        var connections: [HTTPConnection] = []
        for round in 0..<3 {
            for number in 0..<80 {
                let connection = try HTTPConnection(port: server.port)
                if number % 2 == round % 2 { try connection.send("GET /metrics HTTP/1.1\r\nHos") }
                connections.append(connection)
            }
            // Somebody who has asked, and those who ask for much and take nothing of it.
            let whole = try HTTPConnection(port: server.port)
            try whole.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try whole.receive(until: "custody_up").hasPrefix("HTTP/1.1 200 OK\r\n"))
            connections.append(whole)
            for _ in 0..<70 {
                let greedy = try HTTPConnection(port: server.port, receiveBuffer: 4_096)
                try greedy.send(String(repeating: "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", count: 100))
                connections.append(greedy)
            }
            #expect(try await server.scrape().contains("custody_up"))
        }
        // The first have made room for the others.
        #expect(try connections[0].receive().isEmpty)
        withExtendedLifetime(connections) {}
    }

    /// A request that is begun and not ended, or without end, does not stay.
    @Test func requestsWithoutEndAreEnded() async throws {
        let server = try await MetricsEndpoint()
        let slow = try HTTPConnection(port: server.port)
        try slow.send("GET /metrics HTTP/1.1\r\n")
        for header in ["A: \(String(repeating: "a", count: 9_000))\r\n", String(repeating: "A: a\r\n", count: 65)] {
            let long = try HTTPConnection(port: server.port)
            try long.send("GET /metrics HTTP/1.1\r\n" + header)
            #expect(try long.receive().hasPrefix("HTTP/1.1 400 "), "\(header.prefix(40))")
        }
        for piece in ["x", "Transfer-Encoding: chunked\r\n\r\nFFFFFF\r\n", "Content-Length: 10000000\r\n\r\n"] {
            let endless = try HTTPConnection(port: server.port)
            try? endless.send("POST /metrics HTTP/1.1\r\n" + piece)
            try? endless.send(String(repeating: "x", count: 200_000))
            #expect(try !endless.receive().hasPrefix("HTTP/1.1 200 "))
        }
        #expect(try await server.scrape().contains("custody_up"))
        #expect(try slow.receive().isEmpty)
    }

    @Test(arguments: ["9464", "127.0.0.1", ":9464", "::1:9464", "localhost:70000", "[::1]:x"]) func whatIsNoAddress(_ address: String) async throws {
        let installation = try await Installation.ready()
        let refused = try await installation.ctl(["metrics", "--listen", address]).exiting(64)
        #expect(refused.errors.contains("ADDRESS:PORT"), "\(refused.errors)")
    }

    @Test func topShowsWhatHappensBetweenTwoLooks() async throws {
        let installation = try await Installation.ready()
        let daemon = try await installation.startDaemon()
        let client = installation.client()
        let top = try ChildProcess("custodyctl", arguments: ["top", "--interval", "0.2", "--config", installation.configurationFile])
        try await eventually("a rate of wraps") {
            _ = try await client.wrap(.init([1]), key: "payments")
            let rates = top.output.split(separator: "\n").filter { $0.hasPrefix("wrap ") }.compactMap { $0.split(separator: " ").dropFirst().first }
            return rates.contains { Double($0).map { $0 > 0 } ?? false }
        }
        #expect(top.output.contains("C_Encrypt "))
        #expect(top.output.contains("payments  1 wraps"))
        // Not an escape in a pipe.
        #expect(!top.output.contains("\u{1B}"))
        top.signal(SIGINT)
        _ = try await top.end()
        await client.shutdown()
        try await daemon.stop()
        let refused = try await installation.ctl(["top", "--count", "1"]).exiting(69)
        #expect(refused.errors.contains("custody"))
    }
}
