import ByteEncoding
import CustodyProtocol

/// The daemon's report in Prometheus' text exposition format, version 0.0.4.
///
/// Names follow Prometheus' conventions: seconds, bytes, `_total` for what only grows. What is a fact about the daemon's present is
/// a gauge made from its status; what it counts and times has its name and labels from the daemon.
struct PrometheusText {
    static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    private(set) var text = ""

    /// The whole report.
    init(_ report: WireStatusReport) {
        gauge("custody_up", "Whether the daemon answers.", 1)
        family("custody_info", "gauge", "The daemon's release.") { $0.sample([("version", report.serverVersion)], 1) }
        gauge("custody_uptime_seconds", "Since the daemon started.", Double(report.uptimeMs) / 1_000)
        token(report.token)
        gauge("custody_sessions", "Sessions with the token that the daemon uses for requests, at the most.", Double(report.sessions))
        gauge("custody_queue_depth", "Requests that wait for the HSM now.", Double(report.queued))
        gauge("custody_queue_limit", "Requests that may wait for the HSM.", Double(report.queueLimit))
        door(report.door)
        audit(report)
        configuration(report)
        keys(report.keys)
        metrics(report.metrics)
    }

    /// What is said while the daemon can't be asked.
    static var down: String {
        var text = PrometheusText()
        text.gauge("custody_up", "Whether the daemon answers.", 0)
        return text.text
    }

    private init() {}

    // MARK: What the daemon says of itself

    private mutating func token(_ token: WireTokenReport) {
        let states: [(String, WireTokenReport.State)] = [
            ("ready", .ready), ("degraded", .degraded), ("recovering", .recovering), ("locked", .locked), ("unavailable", .unavailable),
        ]
        family("custody_token_state", "gauge", "1 for the state that the token is in.") { family in
            for (name, state) in states { family.sample([("state", name)], token.state == state ? 1 : 0) }
        }
        seconds("custody_token_state_since_timestamp_seconds", "Since when it is in this state.", token.sinceMs)
        let health = token.health
        seconds("custody_token_latest_success_timestamp_seconds", "When the token last did what it was asked for.", health.latestSuccessMs)
        gauge("custody_token_canary_seconds", "How long the latest canary took.", Double(health.canaryUs) / 1_000_000)
        counter("custody_token_logins_total", "Logins tried.", health.logins)
        counter("custody_token_losses_total", "Connections to the token that were lost.", health.losses)
        gauge("custody_hung_threads", "Threads that hang in a call of the HSM's module now.", Double(health.hungThreads))
        gauge("custody_hung_threads_limit", "Past so many the service manager restarts the daemon.", Double(health.hungThreadsLimit))
    }

    private mutating func door(_ door: WireDoorReport) {
        gauge("custody_connections", "Clients that are connected.", Double(door.connections))
        gauge("custody_connections_limit", "Clients that may be connected.", Double(door.connectionsLimit))
        counter("custody_connections_refused_total", "Connections that were turned away or ended for passing a limit.", door.connectionsRefused)
        counter("custody_requests_refused_total", "Requests answered with OVERLOADED at the door.", door.requestsRefused)
        gauge("custody_in_flight_bytes", "What is held for clients in memory.", Double(door.bytesInFlight))
        gauge("custody_in_flight_limit_bytes", "What may be held for clients in memory.", Double(door.bytesInFlightLimit))
    }

    private mutating func audit(_ report: WireStatusReport) {
        let audit = report.audit
        gauge("custody_audit_writable", "0 while the audit log can't be written and every operation fails.", report.auditWritable ? 1 : 0)
        counter("custody_audit_lines_total", "Lines of the audit log, of earlier runs too.", audit.sequence)
        gauge(
            "custody_audit_lag_lines", "Lines that no checkpoint vouches for yet.",
            Double(audit.sequence) - Double(min(audit.checkpointSequence, audit.sequence)))
        seconds("custody_audit_checkpoint_timestamp_seconds", "When the latest checkpoint was made.", audit.checkpointTimeMs)
        gauge("custody_audit_checkpoint_failing", "1 while checkpoints can't be made or anchored.", audit.checkpointDetail.isEmpty ? 0 : 1)
        family("custody_limit_refused_total", "counter", "Operations that a limit of the configuration has refused.") { family in
            for limit in report.limits { family.sample([("rule", limit.rule), ("scope", limit.scope)], Double(limit.refused)) }
        }
    }

    private mutating func configuration(_ report: WireStatusReport) {
        let configuration = report.configuration
        seconds("custody_configuration_loaded_timestamp_seconds", "When the configuration took effect.", configuration.loadedMs)
        gauge("custody_configuration_failing", "1 if the latest reload changed nothing, or the rules name keys that are not there.", configuration.detail.isEmpty ? 0 : 1)
        gauge("custody_grants", "Grants in force.", Double(configuration.grants))
    }

    private mutating func keys(_ keys: [WireKeyReport]) {
        func each(_ family: inout Family, _ value: (WireKeyVersionReport) -> Double?) {
            for key in keys {
                // 0 is no version, but an object that anybody may have made.
                for version in key.versions where version.version > 0 {
                    guard let value = value(version) else { continue }
                    family.sample([("key", key.name), ("version", "\(version.version)")], value)
                }
            }
        }
        family("custody_key_version_state", "gauge", "1 for the state that a version of a root key is in.") { family in
            for key in keys {
                for version in key.versions where version.version > 0 {
                    family.sample([("key", key.name), ("version", "\(version.version)"), ("state", StatusDocument.name(version.state))], 1)
                }
            }
        }
        family("custody_key_version_wraps", "gauge", "1 for the version that wraps.") { each(&$0) { $0.wraps ? 1 : 0 } }
        family("custody_key_version_uses", "gauge", "Encryptions that count against the version's limit; never too few.") { each(&$0) { Double($0.uses) } }
        family("custody_key_version_uses_limit", "gauge", "Past so many uses the version wraps no more.") { each(&$0) { Double($0.usesLimit) } }
        family("custody_key_version_rewrapped_total", "counter", "Blobs of the version that were moved to a newer one.") { each(&$0) { Double($0.rewrapped) } }
        family("custody_key_version_latest_encryption_timestamp_seconds", "gauge", "When the version was last used to encrypt here.") {
            each(&$0) { $0.lastEncryptedMs == 0 ? nil : Double($0.lastEncryptedMs) / 1_000 }
        }
        family("custody_key_version_latest_decryption_timestamp_seconds", "gauge", "When the version was last used to decrypt here.") {
            each(&$0) { $0.lastDecryptedMs == 0 ? nil : Double($0.lastDecryptedMs) / 1_000 }
        }
    }

    // MARK: What the daemon counts and times

    private static let help = [
        "custody_operations_total": "Operations by what became of them; key is empty for what names no key that is there.",
        "custody_operation_seconds": "From the arrival of a request to the record of an operation that was done.",
        "custody_pkcs11_call_seconds": "How long calls of the HSM's module took.",
        "custody_pkcs11_errors_total": "Calls of the HSM's module that returned something else than CKR_OK.",
    ]

    private mutating func metrics(_ report: WireMetricsReport) {
        for (name, counters) in Self.grouped(report.counters, by: \.name) {
            family(name, "counter", Self.help[name] ?? "") { family in
                for counter in counters { family.sample(Self.labels(counter.labels), Double(counter.value)) }
            }
        }
        let bounds = report.bucketBoundsNs.map { Double($0) / 1_000_000_000 }
        for (name, histograms) in Self.grouped(report.histograms, by: \.name) {
            family(name, "histogram", Self.help[name] ?? "") { family in
                for histogram in histograms where histogram.counts.contains(where: { $0 > 0 }) {
                    family.histogram(Self.labels(histogram.labels), bounds, histogram.counts, sum: Double(histogram.sumNs) / 1_000_000_000)
                }
            }
        }
    }

    /// In the order of their names, which is the report's.
    private static func grouped<Item>(_ items: [Item], by name: KeyPath<Item, String>) -> [(String, [Item])] {
        var groups: [(String, [Item])] = []
        for item in items {
            if groups.last?.0 == item[keyPath: name] { groups[groups.count - 1].1.append(item) } else { groups.append((item[keyPath: name], [item])) }
        }
        return groups
    }

    private static func labels(_ pairs: [WirePair]) -> [(String, String)] { pairs.map { ($0.key, $0.value) } }

    // MARK: The format

    private mutating func gauge(_ name: String, _ help: String, _ value: Double) {
        family(name, "gauge", help) { $0.sample([], value) }
    }

    private mutating func counter(_ name: String, _ help: String, _ value: UInt64) {
        family(name, "counter", help) { $0.sample([], Double(value)) }
    }

    /// A time; none for 0, which stands for never.
    private mutating func seconds(_ name: String, _ help: String, _ milliseconds: UInt64) {
        guard milliseconds > 0 else { return }
        gauge(name, help, Double(milliseconds) / 1_000)
    }

    private mutating func family(_ name: String, _ type: String, _ help: String, _ body: (inout Family) -> Void) {
        var family = Family(name: name)
        body(&family)
        guard !family.lines.isEmpty else { return }
        text += "# HELP \(name) \(Family.escaped(help, quotes: false))\n# TYPE \(name) \(type)\n\(family.lines)"
    }

    /// The samples of one name.
    struct Family {
        let name: String
        fileprivate(set) var lines = ""

        mutating func sample(_ labels: [(String, String)], _ value: Double, suffix: String = "") {
            let list = labels.map { "\($0.0)=\"\(Self.escaped(VisibleText.escaped($0.1), quotes: true))\"" }.joined(separator: ",")
            lines += "\(name)\(suffix)\(list.isEmpty ? "" : "{\(list)}") \(Self.number(value))\n"
        }

        /// - Parameter counts: Of each bucket alone, the last for what is above all bounds.
        mutating func histogram(_ labels: [(String, String)], _ bounds: [Double], _ counts: [UInt64], sum: Double) {
            var total: UInt64 = 0
            for (index, count) in counts.enumerated() {
                total += count
                let bound = bounds.indices.contains(index) ? Self.number(bounds[index]) : "+Inf"
                sample(labels + [("le", bound)], Double(total), suffix: "_bucket")
            }
            sample(labels, sum, suffix: "_sum")
            sample(labels, Double(total), suffix: "_count")
        }

        private static func number(_ value: Double) -> String {
            value == value.rounded() && abs(value) < 1e15 ? "\(Int64(value))" : "\(value)"
        }

        static func escaped(_ text: String, quotes: Bool) -> String {
            let escaped = text.replacing("\\", with: "\\\\").replacing("\n", with: "\\n")
            return quotes ? escaped.replacing("\"", with: "\\\"") : escaped
        }
    }
}
